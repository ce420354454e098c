"""Who may do what: three roles, one rule for each route and method, and what is raised when money hangs on it.

Every address of the web process is in `POLICY`; one that is not is refused to everybody, and a test finds it.
A viewer reads. An operator changes what runs. A trader also decides what money does. What makes trading safer
is never kept from an operator: killing `auto_trading`, forcing a breaker open, aborting a rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final


class Role(IntEnum):
    """Each role may do what the one before it may."""

    VIEWER = 1
    OPERATOR = 2
    TRADER = 3

    @property
    def label(self) -> str:
        """The role's name, which is also that of its group."""
        return self.name.lower()


class Scope(StrEnum):
    """What a request counts against: the limits of reading, writing, and of what is slow or stops the desk."""

    READ = "read"
    WRITE = "write"
    SENSITIVE = "sensitive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one method of one route asks for; `role` None: anybody, also without a name."""

    role: Role | None
    scope: Scope = Scope.READ
    raised: str = ""  # when a trader is needed instead, in words


READ: Final = Rule(role=Role.VIEWER)
PUBLIC: Final = Rule(role=None)
WRITE: Final = Rule(role=Role.OPERATOR, scope=Scope.WRITE)
HEAVY: Final = Rule(role=Role.OPERATOR, scope=Scope.SENSITIVE)
TO_LIVE: Final = Rule(role=Role.TRADER, scope=Scope.SENSITIVE)
REPORT: Final = Rule(role=Role.VIEWER, scope=Scope.WRITE)  # what an SDK posts about itself; changes nothing

# Flags that move money or hold it back. The value is the position that is safer, which an operator may always choose.
MONEY_FLAGS: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "auto_trading": False,  # on: orders are sent
        "kelly_position_sizing": False,  # on: positions grow with confidence
        "circuit_breakers": True,  # off: failing services are no longer cut off
        "advanced_risk_engine": True,  # off: only the basic limits hold
    }
)
_FLAGS = ", ".join(sorted(MONEY_FLAGS))
_SAFER_ON = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if safer))
_SAFER_OFF = ", ".join(sorted(name for name, safer in MONEY_FLAGS.items() if not safer))
TRADERS_FLAGS: Final = (
    f"Only a trader may turn on {_SAFER_OFF}, turn off {_SAFER_ON}, or edit these otherwise. "
    "The other way, and their notes, are open to an operator. So it is with flags and segments that these hang on."
)


def _flag(raised: str) -> Rule:
    return Rule(role=Role.OPERATOR, scope=Scope.WRITE, raised=raised)


_ON = _flag(f"for {_SAFER_OFF}")
_OFF = _flag(f"for {_SAFER_ON}")
_EDIT = _flag(f"for {_FLAGS}")
_GUARD = _flag("for a breaker of the order path")


class Turn(StrEnum):
    """Which way a request turns a flag."""

    ON = "on"
    OFF = "off"
    OTHER = "other"  # a share, a list, a field: may do either
    NOTES = "notes"  # changes no answer


NOTES: Final = frozenset({"description", "owner", "expires_at"})


def for_flag(name: str, turn: Turn, steers: Iterable[str] = ()) -> Role:
    """The role that may turn this flag this way; `steers` are the flags that have it as a prerequisite.

    A flag that one of the money hangs on is a trader's both ways: which way is safer hangs on the prerequisite.
    """
    safer = MONEY_FLAGS.get(name)
    if turn is not Turn.NOTES and not MONEY_FLAGS.keys().isdisjoint(steers):
        return Role.TRADER
    if safer is None or turn is Turn.NOTES or turn is (Turn.ON if safer else Turn.OFF):
        return Role.OPERATOR
    return Role.TRADER


def turn_of(changes: Iterable[str], *, enabled: bool) -> Turn:
    """Which way an edit of these fields turns a flag: notes apart, only `enabled` alone is as clear as the switch."""
    moving = set(changes) - NOTES
    if moving == {"enabled"}:
        return Turn.ON if enabled else Turn.OFF
    return Turn.OTHER if moving else Turn.NOTES


def for_segment(steers: Iterable[str]) -> Role:
    """The role that may change a segment: it says for whom the flags that use it, or need one that does, are on."""
    return Role.OPERATOR if MONEY_FLAGS.keys().isdisjoint(steers) else Role.TRADER


def for_breaker(*, order_path: bool, opens: bool = False) -> Role:
    """The role that may change this breaker; forcing one open is an operator's, always."""
    return Role.TRADER if order_path and not opens else Role.OPERATOR


POLICY: Final[Mapping[str, Mapping[str, Rule]]] = MappingProxyType(
    {
        # pages and probes
        "index": {"GET": PUBLIC},
        "favicon": {"GET": PUBLIC},
        "health": {"GET": PUBLIC},
        "ready": {"GET": PUBLIC},
        "schema": {"GET": PUBLIC},
        "docs": {"GET": PUBLIC},
        "redoc": {"GET": PUBLIC},
        # the system and the books
        "system-info": {"GET": READ},
        "book-list": {"GET": READ},
        "book-detail": {"GET": READ},
        "cycle-list": {"GET": READ},
        "cycle-detail": {"GET": READ},
        # Unleash's client interface
        "client-features": {"GET": READ},
        "client-register": {"POST": REPORT},
        "client-metrics": {"POST": REPORT},
        # the control plane
        "modularity-status": {"GET": READ},
        "flag-list": {"GET": READ, "POST": WRITE},
        "flag-detail": {"GET": READ, "PATCH": _EDIT, "DELETE": _EDIT},
        "flag-check": {"GET": READ},
        "flag-history": {"GET": READ},
        "flag-stale": {"GET": READ},
        "flag-enable": {"POST": _ON},
        "flag-disable": {"POST": _OFF},
        "flag-kill": {"POST": _OFF},
        "flag-percentage": {"POST": _EDIT},
        "flag-restore": {"POST": _EDIT},
        "flag-whitelist-add": {"POST": _EDIT},
        "flag-whitelist-remove": {"POST": _EDIT},
        "flag-enable-named": {"POST": _ON},
        "flag-disable-named": {"POST": _OFF},
        "flag-percentage-named": {"POST": _EDIT},
        "segment-list": {"GET": READ, "POST": WRITE},
        "segment-detail": {
            "GET": READ,
            "PATCH": _flag(f"while {_FLAGS} uses it"),
            "DELETE": _flag(f"while {_FLAGS} uses it"),
        },
        "breaker-list": {"GET": READ, "POST": _GUARD},
        "breaker-detail": {"GET": READ, "PATCH": _GUARD, "DELETE": _GUARD},
        "breaker-history": {"GET": READ},
        "breaker-open": {"POST": WRITE},
        "breaker-close": {"POST": _GUARD},
        "breaker-reset": {"POST": _GUARD},
        "breaker-reset-all": {
            "POST": Rule(role=Role.OPERATOR, scope=Scope.SENSITIVE, raised="while one guards the order path"),
        },
        "breaker-metrics-only": {"POST": _GUARD},
        "breaker-normal": {"POST": _GUARD},
        "module-list": {"GET": READ},
        "module-statuses": {"GET": READ},
        "module-status": {"GET": READ},
        "module-versions": {"GET": READ},
        "module-test-history": {"GET": READ},
        "module-job": {"GET": READ},
        "module-register": {"POST": HEAVY},
        "module-load": {"POST": HEAVY},
        "module-activate": {"POST": HEAVY},
        "module-unload": {"POST": HEAVY},
        "module-test": {"POST": HEAVY},
        "module-swap": {"POST": HEAVY},
        "module-rollback": {"POST": HEAVY},
        "swap-list": {"GET": READ},
        "swap-detail": {"GET": READ},
        "rollout-list": {"GET": READ, "POST": WRITE},
        "rollout-detail": {"GET": READ},
        "rollout-analyses": {"GET": READ},
        "rollout-history": {"GET": READ},
        "rollout-statistics": {"GET": READ},
        "rollout-start": {"POST": TO_LIVE},
        "rollout-resume": {"POST": TO_LIVE},
        "rollout-promote": {"POST": TO_LIVE},
        "rollout-pause": {"POST": WRITE},
        "rollout-abort": {"POST": WRITE},
    }
)


def rule(route: str, method: str) -> Rule | None:
    """The rule of a route's method, None where there is none: then nobody may. HEAD counts as GET."""
    return POLICY.get(route, {}).get("GET" if method == "HEAD" else method)
