"""Who may do what: three roles, and one rule for each route and method.

Every address of the web process is in a policy that its room has added; one that is not is refused to everybody, and a
test finds it. A viewer reads. An operator changes what runs. A trader also decides what money does. What makes trading
safer is never kept from an operator: killing `auto_trading`, forcing a breaker open, aborting a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """What a request counts against: the limits of reading, of writing, of what is slow, and of what makes safer.

    The last one is by address (`helios.web.lanes.is_safer`): no other request of a person uses it up.
    """

    READ = "read"
    WRITE = "write"
    SENSITIVE = "sensitive"
    SAFER = "safer"


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
Policy = Mapping[str, Mapping[str, Rule]]  # of a route's name: the rule of each method
_policy: dict[str, Mapping[str, Rule]] = {}


def raised(words: str) -> Rule:
    """An operator's rule that becomes a trader's in the case that the words name."""
    return Rule(role=Role.OPERATOR, scope=Scope.WRITE, raised=words)


def add(policy: Policy) -> None:
    """Let the rules of a room's routes hold; a route has one rule, from one room."""
    twice = policy.keys() & _policy.keys()
    if twice:
        raise ValueError(f"a route must have one rule, {', '.join(sorted(twice))} has another already")
    _policy.update(policy)


def policy() -> Policy:
    """The rules of every room that has added its own."""
    return MappingProxyType(_policy)


def rule(route: str, method: str) -> Rule | None:
    """The rule of a route's method, None where there is none: then nobody may. HEAD counts as GET."""
    return _policy.get(route, {}).get("GET" if method == "HEAD" else method)
