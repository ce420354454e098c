"""The demo's one readable page: what every command reported, as tables.

All knowledge of the commands' JSON keys is here. A figure that a command did not report is shown as a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from helios.console import Console

DASH = "-"
BACKTEST_ROWS = (  # in the words of `manage.py backtest`
    ("Total return", "total_return_pct", "%"),
    ("Growth a year", "cagr_pct", "%"),
    ("Sharpe ratio", "sharpe", ""),
    ("Sortino ratio", "sortino", ""),
    ("Calmar ratio", "calmar", ""),
    ("Largest drawdown", "max_drawdown_pct", "%"),
    ("Volatility a year", "volatility_pct", "%"),
    ("Profit factor", "profit_factor", ""),
    ("Trades, flat to flat", "n_trades", "n"),
    ("Trades won", "win_rate_pct", "%"),
    ("Reductions of positions", "n_reductions", "n"),
    ("Reductions won", "reductions_won_pct", "%"),
    ("Mean gross weight", "gross_weight_pct", "%"),
    ("Time in the market", "time_in_market_pct", "%"),
    ("Turnover a year", "turnover", ""),
    ("Fees paid", "fees_paid", "money"),
)

EVIDENCE_ROWS = (
    ("gain on class frequencies, nats", "gain"),
    ("of it on whether prices move", "gain_on_moving"),
    ("of that, beyond the threshold's width", "gain_beyond_width"),
    ("of it on where they go", "gain_on_direction"),
    ("sides named right, less always up", "hit_rate_above_always_up"),
    ("Sharpe ratio of the backtest", "sharpe"),
    ("Sharpe ratio, less class frequencies'", "sharpe_above_class_frequencies"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the demo's steps reported, as parsed JSON."""

    data: Any
    training: Any
    backtest: Any
    replay: Any
    audit: Any
    report: Path
    timings: Sequence[tuple[str, float]]


def pick(source: Any, path: str) -> Any:
    """The value that a dotted path leads to; None when it leads nowhere."""
    for key in path.split("."):
        source = source.get(key) if isinstance(source, Mapping) else None
    return source


def formatted(value: Any, unit: str = "") -> str:
    """A number for people: `12.30 %`, `1,234.00`, `17`; a dash where there is none (also for NaN)."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is the value that differs from itself
        return DASH
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if unit == "n":
        return f"{number:,.0f}"
    if unit == "money":
        return f"{number:,.2f}"
    return f"{number:,.2f}{' ' + unit if unit else ''}"


def render(outcome: Outcome) -> RenderableType:
    """The whole summary."""
    return Group(
        data_table(outcome.data),
        model_table(outcome.training, outcome.backtest),
        evidence_table(outcome.backtest),
        backtest_table(outcome.backtest),
        *(str(sentence) for key in ("says", "reasons") for sentence in pick(outcome.backtest, key) or ()),
        replay_table(outcome.replay),
        latency_table(outcome.replay),
        timing_table(outcome.timings),
        verdict(outcome.audit),
        f"Report: {outcome.report}",
        "Next: open the report in a browser; `make up` runs the whole stack.",
    )


def data_table(data: Any) -> Table:
    """Rows loaded, per symbol and timeframe."""
    series = pick(data, "series") or []
    total = sum(pick(each, "rows") or 0 for each in series)
    table = _table(f"Market data: {formatted(total, 'n')} bars", "symbol", "timeframe", "bars", "new", "missing")
    for each in series:
        counts = (formatted(pick(each, key), "n") for key in ("rows", "inserted", "missing_bars"))
        table.add_row(str(pick(each, "symbol")), str(pick(each, "timeframe")), *counts)
    return table


def model_table(training: Any, backtest: Any) -> Table:
    """What the model in service is worth on bars that it did not see, beside what needs no model."""
    found = pick(backtest, "evidence")
    bars = f"{formatted(pick(found, 'n_bars'), 'n')} bars from {_close(pick(found, 'start'))} on that it did not see"
    title = f"Model {pick(training, 'name') or DASH} on {bars}"
    table = _table(title, "figure", "model", "class frequencies", "always up")
    table.add_row("log loss", _plain(pick(found, "log_loss")), _plain(pick(found, "class_frequencies_log_loss")), DASH)
    table.add_row(
        "side of the move named right", _plain(pick(found, "hit_rate")), DASH, _plain(pick(found, "always_up"))
    )
    return table


def evidence_table(backtest: Any) -> Table:
    """What the model adds to what needs no model, each figure with its 95 % interval."""
    table = _table("What the model adds, with 95 % intervals", "figure", "estimate", "low", "high")
    for label, key in EVIDENCE_ROWS:
        found = pick(backtest, f"evidence.{key}")
        table.add_row(label, *(_plain(pick(found, part)) for part in ("value", "low", "high")))
    return table


def backtest_table(backtest: Any) -> Table:
    """The strategy beside what needs no opinion, over the same bars."""
    closes = f"closes from {_close(pick(backtest, 'figures_from'))} to {_close(pick(backtest, 'end'))}"
    seen = pick(backtest, "out_of_sample") is False
    note = ", with bars the model was trained on" if seen else ""
    title = f"Backtest of seven tiers, {formatted(pick(backtest, 'n_bars'), 'n')} bars, {closes}{note}"
    beside = pick(backtest, "beside") or {}
    table = _table(title, "figure", "Helios", *map(str, beside))
    for label, key, unit in BACKTEST_ROWS:
        table.add_row(label, *(formatted(pick(column, key), unit) for column in (backtest, *beside.values())))
    return table


def replay_table(replay: Any) -> Table:
    """Cycles, orders, fills and what the paper book is worth."""
    table = _table(f"Replay through Celery {pick(replay, 'book') or ''}", "figure", "value")
    for key in ("cycles", "orders"):
        table.add_row(key, _counts(pick(replay, key)))
    table.add_row("fills", formatted(pick(replay, "fills"), "n"))
    table.add_row("fees paid", formatted(pick(replay, "fees_paid"), "money"))
    table.add_row("final paper equity", formatted(pick(replay, "final_equity"), "money"))
    table.add_row("return", formatted(pick(replay, "total_return_pct"), "%"))
    table.add_row("fallbacks", _counts(pick(replay, "fallbacks")) or "none")
    ledger = pick(replay, "ledger.intact")
    table.add_row("ledger", DASH if ledger is None else ("intact" if ledger else "BROKEN"))
    return table


def latency_table(replay: Any) -> Table:
    """Median and 95th percentile of every tier and of the whole cycle."""
    table = _table("Latency", "tier", "p50 ms", "p95 ms")
    for name, row in (pick(replay, "latency") or {}).items():
        table.add_row(str(name), formatted(pick(row, "p50_ms")), formatted(pick(row, "p95_ms")))
    return table


def timing_table(timings: Iterable[tuple[str, float]]) -> Table:
    """How long each step took."""
    steps = list(timings)
    table = _table(f"Steps, {sum(seconds for _, seconds in steps):.0f} s in all", "step", "seconds")
    for title, seconds in steps:
        table.add_row(title, f"{seconds:.1f}")
    return table


def verdict(audit: Any) -> str:
    """The sentinel's word, with its findings."""
    findings = pick(audit, "findings") or []
    lines = [f"  {pick(each, 'severity')}: {pick(each, 'message')}" for each in findings]
    return "\n".join([f"Sentinel: {pick(audit, 'verdict') or DASH}", *lines])


def show(console: Console, outcome: Outcome) -> None:
    """Print the summary."""
    console.print()
    console.print(render(outcome))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", min_width=60)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right")
    return table


def _counts(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return formatted(value, "n")


def _plain(value: Any) -> str:
    if not isinstance(value, float) or value.is_integer():
        return formatted(value, "n")
    return f"{value:.4f}" if value == value else DASH  # noqa: PLR0124 - NaN


def _close(value: Any) -> str:
    """A bar's close to the minute: that of a coin's day is the next midnight, so a date alone would name another."""
    return f"{str(value)[:16].replace('T', ' ')} UTC" if value else DASH
