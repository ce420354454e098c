"""The reply that every analyst gives, as a JSON schema, and the strict way from a reply to a view."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator

from tiers.contracts import MAX_RISK_MULTIPLIER, Stance, StrategicView
from tiers.contracts.errors import Rejected

MAX_REASONING = 1_000  # characters

REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["stance", "conviction", "risk_multiplier", "reasoning"],
    "properties": {
        "stance": {
            "type": "string",
            "enum": [stance.value for stance in Stance],
            "description": "The view on the market as a whole.",
        },
        "conviction": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How sure the view is, 0 to 1.",
        },
        "risk_multiplier": {
            "type": "number",
            "minimum": 0,
            "maximum": MAX_RISK_MULTIPLIER,
            "description": "Factor on the book's leverage bound: 1 leaves it, 0 closes all, 1.5 is the most.",
        },
        "reasoning": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_REASONING,
            "description": "One to three sentences that name the figures behind the view.",
        },
    },
}

_validator = Draft202012Validator(REPLY_SCHEMA)


def view_of(reply: object, *, bar_ts: datetime, provider: str, usage: dict[str, int]) -> StrategicView:
    """A reply as a `StrategicView`; `Rejected` names the first place where it breaks the schema."""
    problem = min(_validator.iter_errors(reply), key=lambda error: list(map(str, error.path)), default=None)
    if problem is not None or not isinstance(reply, dict):
        place = ".".join(map(str, problem.path)) if problem and problem.path else "the reply"
        message = problem.message if problem else "not an object"
        raise Rejected(f"the {provider} analyst's reply must follow the schema, but {place}: {message[:200]}")
    return StrategicView(
        bar_ts=bar_ts,
        provider=provider,
        stance=Stance(reply["stance"]),
        conviction=float(reply["conviction"]),
        risk_multiplier=float(reply["risk_multiplier"]),
        reasoning=reply["reasoning"],
        usage=usage,
    )
