"""What is about to be stored, in words: the first and the last bar, what is missing, and what was left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tiers.contracts import Bars, utc
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.prepare import Prepared

EXAMPLES = 3


def described(prepared: Prepared) -> dict[str, str]:
    """Lines about the base timeframe by their titles; a title without anything to tell is absent."""
    base = prepared.batches[0]
    gaps = [problem for problem in prepared.problems if problem.code is Code.GAP]
    forming = [problem for problem in prepared.problems if problem.code is Code.FORMING]
    dropped = [problem for problem in prepared.problems if problem.rejects]
    lines = {
        "bars": f"{base.n_bars} of {base.timeframe}",
        "first": _bar(base, 0),
        "last": _bar(base, -1),
        "gaps": _gaps(gaps),
        "forming": _examples(forming),
        "dropped": _examples(dropped),
    }
    return {title: text for title, text in lines.items() if text}


def _bar(bars: Bars, row: int) -> str:
    prices = ", ".join(
        f"{name} {getattr(bars, name)[row, 0]:.12g}" for name in ("open", "high", "low", "close", "volume")
    )
    return f"known at {utc(bars.ts[row]):%Y-%m-%d %H:%M} UTC, {prices}"


def _gaps(gaps: Sequence[Problem]) -> str:
    if not gaps:
        return "none"
    longest = max(gaps, key=lambda gap: gap.missing_bars).detail
    if len(gaps) == 1:
        return longest
    return f"{len(gaps)} with {sum(gap.missing_bars for gap in gaps)} bars missing; in the longest {longest}"


def _examples(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    shown = "; ".join(problem.place_and_detail for problem in problems[:EXAMPLES])
    return f"{len(problems)} row{'s' * (len(problems) > 1)}: {shown}{'; ...' if len(problems) > EXAMPLES else ''}"
