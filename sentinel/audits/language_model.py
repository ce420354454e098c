"""Will the language model of tier 5 still be there?"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity

# From when on Anthropic no longer serves a model: the list of deprecated models in its Python SDK 2.14.0, read on
# 2026-11-28. A name with the day of its making at the end is the same model.
ENDS: Final = {
    "claude-mythos-preview": date(2026, 6, 30),
    "claude-sonnet-4-5": date(2026, 11, 30),
    "claude-opus-4-5": date(2027, 1, 22),
}
_MADE_ON: Final = re.compile(r"-\d{8}$")


def end_of(model: str) -> date | None:
    """The day from which the model is no longer served; None while none was announced."""
    return ENDS.get(_MADE_ON.sub("", model))


def ending(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """MODEL_ENDING some weeks before the configured model is switched off; MODEL_ENDED, critical, from that day on."""
    end = end_of(snapshot.llm_model)
    if end is None:
        return []
    left = datetime.combine(end, time(), UTC) - snapshot.taken_at
    if left > timedelta(days=limits.model_ending_days):
        return []
    ended = left <= timedelta(0)
    verb, then = (
        ("ended", "the rule-based analyst answers instead") if ended else ("ends", "requests fail from then on")
    )
    return [
        Finding(
            code="MODEL_ENDED" if ended else "MODEL_ENDING",
            severity=Severity.CRITICAL if ended else Severity.WARNING,
            subject=snapshot.llm_model,
            message=f"{snapshot.llm_model} {verb} on {end}, {then}: set HELIOS_LLM_MODEL to a current model",
            observed=f"{max(0, left.days)} days left",
            limit=f"{limits.model_ending_days} days",
        )
    ]
