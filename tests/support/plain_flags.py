# ruff: noqa: C901, PLR0911 - one rule after the other, as the specification tells them
"""The plain twin of flag evaluation: every rule read from the definition at every question, nothing prepared.

Slow on purpose, and written from the specification's words: standard library `re`, the `semver` package, loops.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import mmh3
import semver

from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Constraint, Prerequisite, Rule, Segment, Variant

ALIAS = {"userId": "user"}


@dataclass
class World:
    """Everything that a question may touch."""

    flags: Mapping[str, FlagDefinition]
    segments: Mapping[str, Segment]
    around: EvaluationContext
    now: datetime
    chains: bool = True


def value_of(name: str, context: FlagContext) -> str | None:
    field = ALIAS.get(name, name)
    if field in {"user", "symbol", "strategy", "system", "environment"} and getattr(context, field):
        return getattr(context, field)
    return context.attributes.get(name)


def number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    plain = not set(text.strip().lower()) - set("+-.e0123456789") and text.isascii()
    return found if plain and not math.isnan(found) else None


def moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo and len(text) > 18 else None


def version(text: str) -> semver.Version | None:
    try:
        return semver.Version.parse(text.strip())
    except ValueError:
        return None


def compare(kind: str, left: object, right: object) -> bool:
    if left is None or right is None:
        return False
    return {
        "EQ": left == right,
        "GT": left > right,
        "GTE": left >= right,
        "LT": left < right,
        "LTE": left <= right,
        "AFTER": left > right,
        "BEFORE": left < right,
    }[kind]


def in_any_network(text: str, networks: tuple[str, ...]) -> bool:
    for each in networks:
        try:
            if ipaddress.ip_address(text) in ipaddress.ip_network(each.strip(), strict=False):
                return True
        except (ValueError, TypeError):
            continue
    return False


def operator_holds(constraint: Constraint, value: str | None, now: datetime) -> bool:
    family, _, kind = constraint.operator.partition("_")
    if constraint.operator == "NOT_IN":
        return value not in constraint.values
    if family == "DATE":
        left = now if value is None and constraint.context_name == "currentTime" else moment(value or "")
        return compare(kind, left, moment(constraint.value))
    if value is None:
        return False
    if constraint.operator == "IN":
        return value in constraint.values
    if family == "STR":
        values = list(constraint.values)
        if constraint.case_insensitive:
            value, values = value.lower(), [each.lower() for each in values]
        test = {"STARTS_WITH": value.startswith, "ENDS_WITH": value.endswith, "CONTAINS": value.__contains__}[kind]
        return any(test(each) for each in values)
    if family == "NUM":
        return compare(kind, number(value), number(constraint.value))
    if family == "SEMVER":
        return compare(kind, version(value), version(constraint.value))
    if constraint.operator == "REGEX":
        try:
            return bool(re.search(constraint.value, value, re.IGNORECASE if constraint.case_insensitive else 0))
        except re.error:
            return False
    return in_any_network(value, constraint.values)


ORDERS = ("EQ", "GT", "GTE", "LT", "LTE")
TEXTS = ("STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS")
KNOWN = {
    *("IN", "NOT_IN", "REGEX", "IN_CIDR", "DATE_AFTER", "DATE_BEFORE"),
    *TEXTS,
    *(f"{family}_{order}" for family in ("NUM", "SEMVER") for order in ORDERS),
}


def constraint_holds(constraint: Constraint, context: FlagContext, world: World) -> bool:
    if constraint.operator not in KNOWN:
        return False
    value = value_of(constraint.context_name, context)
    if value is None and constraint.context_name == "environment":
        value = world.around.environment or None
    holds = operator_holds(constraint, value, world.now)
    return not holds if constraint.inverted else holds


def inside(names: tuple[str, ...], context: FlagContext, world: World) -> bool:
    for name in names:
        segment = world.segments.get(name)
        if segment is None or not all(constraint_holds(each, context, world) for each in segment.constraints):
            return False
    return True


def hashed(group: str, held_on: str, seed: int, size: int) -> int:
    return mmh3.hash(f"{group}:{held_on}", seed, signed=False) % size + 1


def first(names: str, context: FlagContext) -> str:
    return next((value for name in names.split() if (value := value_of(name, context))), "")


def strategy_serves(rule: Rule, flag: FlagDefinition, context: FlagContext, world: World) -> bool:
    given, draw = rule.parameters, world.around.draw

    def share(name: str) -> float:
        return number(given.get(name, "")) or 0.0

    def listed(name: str) -> list[str]:
        return [each.strip() for each in given.get(name, "").split(",") if each.strip()]

    def held(held_on: str, group: str, served: float) -> bool:
        return bool(held_on) and served > 0 and hashed(group, held_on, 0, 100) <= served

    match rule.name:
        case "default":
            return True
        case "userWithId":
            return value_of("userId", context) in listed("userIds")
        case "gradualRolloutUserId":
            return held(first("userId", context), given.get("groupId", ""), share("percentage"))
        case "gradualRolloutSessionId":
            return held(first("sessionId", context), given.get("groupId", ""), share("percentage"))
        case "gradualRolloutRandom":
            return share("percentage") > 0 and int(draw() * 100) + 1 <= share("percentage")
        case "flexibleRollout":
            stickiness = given.get("stickiness") or "default"
            order = "userId sessionId symbol strategy system" if stickiness == "default" else stickiness
            held_on = first(order, context)
            if stickiness == "random" or (stickiness == "default" and not held_on):
                return share("rollout") > 0 and int(draw() * 100) + 1 <= share("rollout")
            return held(held_on, given.get("groupId") or flag.name, share("rollout"))
        case "remoteAddress":
            return in_any_network(value_of("remoteAddress", context) or "", tuple(listed("IPs")))
        case "applicationHostname":
            hosts = [each.lower() for each in listed("hostNames")]
            return world.around.hostname.lower() in hosts
    return False


def rule_holds(rule: Rule, flag: FlagDefinition, context: FlagContext, world: World) -> bool:
    return (
        all(constraint_holds(each, context, world) for each in rule.constraints)
        and inside(rule.segments, context, world)
        and strategy_serves(rule, flag, context, world)
    )


def share_now(flag: FlagDefinition, now: datetime) -> float:
    if flag.strategy is Strategy.PERCENTAGE:
        served = flag.percentage
        for step in flag.schedule:
            if step.at <= now:
                served = step.percentage
        return served
    if flag.gradual_start is None or flag.gradual_end is None or now < flag.gradual_start:
        return 0
    part = min((now - flag.gradual_start) / (flag.gradual_end - flag.gradual_start), 1.0)
    return flag.percentage if part == 1.0 else flag.gradual_from + (flag.percentage - flag.gradual_from) * part


def own_strategy(flag: FlagDefinition, context: FlagContext, world: World) -> tuple[bool, int | None]:
    identities = {context.symbol, context.user, context.strategy, context.system}
    match flag.strategy:
        case Strategy.ALL_ON:
            return True, None
        case Strategy.WHITELIST:
            return bool(identities & flag.whitelist), None
        case Strategy.BLACKLIST:
            return not identities & flag.blacklist, None
        case Strategy.RULES:
            for index, rule in enumerate(flag.rules):
                if rule_holds(rule, flag, context, world):
                    return True, index
            return not flag.rules, None
        case Strategy.PERCENTAGE | Strategy.GRADUAL:
            served = share_now(flag, world.now)
            if served >= 100 or served <= 0:
                return served >= 100, None
            own = [context.symbol, context.user, context.strategy, context.system]
            held_on = value_of(flag.stickiness, context) if flag.stickiness else next(filter(None, own), "")
            return bool(held_on) and hashed(flag.group_id or flag.name, held_on, 0, 100) <= served, None
    return False, None


def is_on(name: str, context: FlagContext, world: World, path: tuple[str, ...] = ()) -> tuple[bool, int | None]:
    """Whether it is on, and the number of the rule that holds."""
    flag = world.flags.get(name)
    if flag is None or not flag.enabled or name in path:
        return False, None
    if flag.environments:
        here = value_of("environment", context) or world.around.environment
        if here not in flag.environments:
            return False, None
    if not all(is_met(each, context, world, (*path, name)) for each in flag.prerequisites):
        return False, None
    if not all(constraint_holds(each, context, world) for each in flag.constraints):
        return False, None
    if not inside(flag.segments, context, world):
        return False, None
    return own_strategy(flag, context, world)


def runs_into_circle(name: str, world: World, path: tuple[str, ...] = ()) -> bool:
    if name in path:
        return True
    flag = world.flags.get(name)
    return flag is not None and any(runs_into_circle(each.feature, world, (*path, name)) for each in flag.prerequisites)


def is_met(asked: Prerequisite, context: FlagContext, world: World, path: tuple[str, ...]) -> bool:
    parent = world.flags.get(asked.feature)
    if parent is None or runs_into_circle(path[-1], world) or (parent.prerequisites and not world.chains):
        return False
    on, _ = is_on(asked.feature, context, world, path)
    if not asked.enabled:
        return not on
    return on and (not asked.variants or variant_name(asked.feature, context, world) in asked.variants)


def chosen(
    variants: tuple[Variant, ...], group: str, stickiness: str, order: str, context: FlagContext, world: World
) -> str | None:
    total = sum(each.weight for each in variants)
    if total == 0:
        return None
    for variant in variants:
        for override in variant.overrides:
            if value_of(override.context_name, context) in override.values:
                return variant.name
    held_on = "" if stickiness == "random" else first(order if stickiness == "default" else stickiness, context)
    place = hashed(group, held_on, 86028157, total) if held_on else min(int(world.around.draw() * total), total - 1) + 1
    for variant in variants:
        place -= variant.weight
        if place <= 0:
            return variant.name
    raise AssertionError("weights must cover every place")


def variant_name(name: str, context: FlagContext, world: World) -> str:
    on, index = is_on(name, context, world)
    if not on:
        return "disabled"
    flag = world.flags[name]
    unleash = "userId sessionId remoteAddress symbol strategy system"
    helios = "symbol userId strategy system sessionId remoteAddress"
    if index is not None:
        rule = flag.rules[index]
        given = rule.parameters
        found = chosen(
            rule.variants, given.get("groupId") or name, given.get("stickiness", "default"), unleash, context, world
        )
        if found is not None:
            return found
    order = unleash if flag.strategy is Strategy.RULES else helios
    sticky = flag.variants[0].stickiness if flag.variants else ""
    return chosen(flag.variants, name, sticky, order, context, world) or "disabled"
