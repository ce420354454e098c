"""Which role may change a flag or a segment: what moves money or puts code in charge is a trader's, what makes it safer
an operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from helios.web.roles import Role

# Flags that move money or hold it back, or put code in charge. The value is the position that is safer, which an
# operator may always choose.
MONEY_FLAGS: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "auto_trading": False,  # on: orders are sent
        "kelly_position_sizing": False,  # on: positions grow with confidence
        "hot_reload_modules": False,  # on: changed files come in charge, once they pass
        "circuit_breakers": True,  # off: failing services are no longer cut off
        "advanced_risk_engine": True,  # off: only the basic limits hold
    }
)
NAMED: Final = ", ".join(sorted(MONEY_FLAGS))
SAFER_ON: Final = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if safer))
SAFER_OFF: Final = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if not safer))
TRADERS_FLAGS: Final = (
    f"Only a trader may turn on {SAFER_OFF}, turn off {SAFER_ON}, or edit these otherwise. "
    "The other way, and their notes, are open to an operator. So it is with flags and segments that these hang on."
)


class Direction(StrEnum):
    """Which way a request turns a flag."""

    ON = "on"
    OFF = "off"
    OTHER = "other"  # a share, a list, a field: may do either
    NOTES = "notes"  # changes no answer


NOTES: Final = frozenset({"description", "owner", "expires_at"})


def for_flag(name: str, direction: Direction, steers: Iterable[str] = ()) -> Role:
    """The role that may turn this flag this way; `steers` are the flags that have it as a prerequisite.

    A flag that one of the money hangs on is a trader's both ways: which way is safer hangs on the prerequisite.
    """
    safer = MONEY_FLAGS.get(name)
    if direction is not Direction.NOTES and not MONEY_FLAGS.keys().isdisjoint(steers):
        return Role.TRADER
    if safer is None or direction is Direction.NOTES or direction is (Direction.ON if safer else Direction.OFF):
        return Role.OPERATOR
    return Role.TRADER


def direction_of(changes: Iterable[str], *, enabled: bool) -> Direction:
    """Which way an edit of these fields turns a flag: notes apart, only `enabled` alone is as clear as the switch."""
    moving = set(changes) - NOTES
    if moving == {"enabled"}:
        return Direction.ON if enabled else Direction.OFF
    return Direction.OTHER if moving else Direction.NOTES


def for_segment(steers: Iterable[str]) -> Role:
    """The role that may change a segment: it says for whom the flags that use it, or need one that does, are on."""
    return Role.OPERATOR if MONEY_FLAGS.keys().isdisjoint(steers) else Role.TRADER
