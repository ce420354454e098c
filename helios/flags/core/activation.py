"""Unleash's activation strategies: whom each serves, worked out once per rule into a test of a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from helios.entries import parts
from helios.flags.core.buckets import bucket
from helios.flags.core.constraints import in_networks, parse_networks, parse_number
from helios.flags.core.context import FlagContext, reader
from helios.flags.core.definition import BUCKETS
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import DEFAULT_STICKINESS, RANDOM_STICKINESS, Rule
from helios.flags.core.variants import first_of

DEFAULT_ORDER: Final = ("userId", "sessionId", "symbol", "strategy", "system")  # the first two are Unleash's
Serves = Callable[[FlagContext], bool]


def compile_strategy(rule: Rule, flag: str, evaluation_context: EvaluationContext) -> Serves:
    """The rule's own test, without its constraints; one with a name that nobody knows serves nobody."""
    build = _BUILD.get(rule.name)
    return _nobody if build is None else build(rule.parameters, flag, evaluation_context)


def problem(rule: Rule) -> str:
    """What is wrong with the rule, as `field must be ..., was ...`; empty when it can serve somebody."""
    if rule.name not in _BUILD:
        return f"name must be one of {', '.join(_BUILD)}, was {rule.name!r}"
    parameter = SHARE_IN.get(rule.name)
    if parameter is None:
        return ""
    given = rule.parameters.get(parameter, "")
    served = parse_number(given)
    if served is None or not 0 <= served <= BUCKETS:
        return f"parameters.{parameter} must be a number from 0 to 100, was {given!r}"
    return ""


def _everybody(_context: FlagContext) -> bool:
    return True


def _nobody(_context: FlagContext) -> bool:
    return False


def _default(_parameters: Mapping[str, str], _flag: str, _evaluation_context: EvaluationContext) -> Serves:
    return _everybody


def _user_with_id(parameters: Mapping[str, str], _flag: str, _evaluation_context: EvaluationContext) -> Serves:
    users, read = frozenset(parts(parameters.get("userIds", ""))), reader("userId")
    return lambda context: read(context) in users


def _remote_address(parameters: Mapping[str, str], _flag: str, _evaluation_context: EvaluationContext) -> Serves:
    networks, read = parse_networks(parts(parameters.get("IPs", ""))), reader("remoteAddress")
    return lambda context: in_networks(networks, read(context) or "")


def _application_hostname(parameters: Mapping[str, str], _flag: str, evaluation_context: EvaluationContext) -> Serves:
    served = evaluation_context.hostname.lower() in parts(parameters.get("hostNames", "").lower())
    return _everybody if served else _nobody


def _share(parameters: Mapping[str, str], name: str) -> float:
    return parse_number(parameters.get(name, "")) or 0.0


def _gradual(field: str) -> Callable[[Mapping[str, str], str, EvaluationContext], Serves]:
    """A share of the values of one field; who has none is not served."""

    def build(parameters: Mapping[str, str], _flag: str, _evaluation_context: EvaluationContext) -> Serves:
        return _sticky_share(reader(field), parameters.get("groupId", ""), _share(parameters, "percentage"))

    return build


def _gradual_random(parameters: Mapping[str, str], _flag: str, evaluation_context: EvaluationContext) -> Serves:
    return _random_share(_share(parameters, "percentage"), evaluation_context)


def _flexible_rollout(parameters: Mapping[str, str], flag: str, evaluation_context: EvaluationContext) -> Serves:
    served = _share(parameters, "rollout")
    group = parameters.get("groupId", "") or flag
    stickiness = parameters.get("stickiness", "") or DEFAULT_STICKINESS
    by_chance = _random_share(served, evaluation_context)
    if stickiness == RANDOM_STICKINESS:
        return by_chance
    if stickiness != DEFAULT_STICKINESS:
        return _sticky_share(reader(stickiness), group, served)
    sticky = first_of(DEFAULT_ORDER)
    held = _sticky_share(sticky, group, served)
    return lambda context: held(context) if sticky(context) else by_chance(context)


def _sticky_share(sticky: Callable[[FlagContext], str | None], group: str, served: float) -> Serves:
    def serves(context: FlagContext) -> bool:
        held_on = sticky(context)
        return bool(held_on) and bucket(group, held_on or "") <= served

    return serves if served > 0 else _nobody


def _random_share(served: float, evaluation_context: EvaluationContext) -> Serves:
    draw = evaluation_context.draw
    return (lambda _context: int(draw() * BUCKETS) + 1 <= served) if served > 0 else _nobody


SHARE_IN: Final[Mapping[str, str]] = {  # the parameter that holds the share
    "gradualRolloutUserId": "percentage",
    "gradualRolloutSessionId": "percentage",
    "gradualRolloutRandom": "percentage",
    "flexibleRollout": "rollout",
}
_BUILD: Mapping[str, Callable[[Mapping[str, str], str, EvaluationContext], Serves]] = {
    "default": _default,
    "userWithId": _user_with_id,
    "gradualRolloutUserId": _gradual("userId"),
    "gradualRolloutSessionId": _gradual("sessionId"),
    "gradualRolloutRandom": _gradual_random,
    "flexibleRollout": _flexible_rollout,
    "remoteAddress": _remote_address,
    "applicationHostname": _application_hostname,
}
STRATEGY_NAMES: Final = tuple(_BUILD)
