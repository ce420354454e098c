"""Which role may change a flag or a segment: what moves money or puts code in charge is a trader's, what makes it safer
an operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from helios.web.roles import Role


class Direction(StrEnum):
    """Which way a request turns a flag."""

    ON = "on"
    OFF = "off"
    OTHER = "other"  # a share, a list, a field: may do either
    NOTES = "notes"  # changes no answer


# Flags that move money or hold it back, or put code or a model in charge: every switch of a decision is one. The value
# is the turn that is safer whatever the case, which an operator may always make; None where that hangs on the case.
MONEY_FLAGS: Final[Mapping[str, Direction | None]] = MappingProxyType(
    {
        "auto_trading": Direction.OFF,  # on: orders are sent
        "hot_reload_modules": Direction.OFF,  # on: changed files come in charge, once they pass
        "neural_network_v2": Direction.OFF,  # on: the challenger model decides for its share of the symbols
        "circuit_breakers": Direction.ON,  # off: failing services are no longer cut off
        "advanced_risk_engine": Direction.ON,  # off: only the basic limits hold
        "kelly_position_sizing": None,  # off: a small edge gets the fixed fraction, where Kelly takes next to nothing
        "garch_volatility": None,  # either estimate may be the lower one, which makes positions larger
        "llm_strategic_analysis": None,  # a view may lower the leverage, and raise it
        "llm_enhanced_decisions": None,
    }
)
NAMED: Final = ", ".join(sorted(MONEY_FLAGS))
RAISED_ON: Final = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if safer is not Direction.ON))
RAISED_OFF: Final = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if safer is not Direction.OFF))
TRADERS_FLAGS: Final = (
    f"Only a trader may turn on {RAISED_ON}, turn off {RAISED_OFF}, or edit these otherwise. "
    "Turning them the other way alone, and their notes, are open to an operator. "
    "So it is with flags and segments that these hang on."
)
NOTES: Final = frozenset({"description", "owner", "expires_at"})


def for_flag(name: str, direction: Direction, steers: Iterable[str] = ()) -> Role:
    """The role that may turn this flag this way; `steers` are the flags that have it as a prerequisite.

    A flag that one of the money hangs on is a trader's both ways: which way is safer hangs on the prerequisite.
    """
    if direction is Direction.NOTES:
        return Role.OPERATOR
    if not MONEY_FLAGS.keys().isdisjoint(steers):
        return Role.TRADER
    return Role.OPERATOR if name not in MONEY_FLAGS or direction is MONEY_FLAGS[name] else Role.TRADER


def direction_of(changes: Iterable[str], *, enabled: bool) -> Direction:
    """Which way an edit of these fields turns a flag: notes apart, only `enabled` alone is as clear as the switch."""
    moving = set(changes) - NOTES
    if moving == {"enabled"}:
        return Direction.ON if enabled else Direction.OFF
    return Direction.OTHER if moving else Direction.NOTES


def for_segment(steers: Iterable[str]) -> Role:
    """The role that may change a segment: it says for whom the flags that use it, or need one that does, are on."""
    return Role.OPERATOR if MONEY_FLAGS.keys().isdisjoint(steers) else Role.TRADER
