"""A flag in words: whom it serves, under which conditions, and what a button would change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from helios.flags.core.buckets import share
from helios.flags.core.definition import FlagDefinition, Strategy

_OPERATORS: Final[Mapping[str, str]] = {
    "IN": "is one of",
    "NOT_IN": "is none of",
    "STR_STARTS_WITH": "starts with one of",
    "STR_ENDS_WITH": "ends with one of",
    "STR_CONTAINS": "contains one of",
    "NUM_EQ": "equals",
    "NUM_GT": "is greater than",
    "NUM_GTE": "is at least",
    "NUM_LT": "is less than",
    "NUM_LTE": "is at most",
    "DATE_AFTER": "is after",
    "DATE_BEFORE": "is before",
    "SEMVER_EQ": "is version",
    "SEMVER_GT": "is a version above",
    "SEMVER_GTE": "is a version from",
    "SEMVER_LT": "is a version below",
    "SEMVER_LTE": "is a version up to",
    "REGEX": "matches",
    "IN_CIDR": "lies in one of",
}
_SHOWN: Final = 8  # entries of a list in a sentence


def serves(flag: FlagDefinition, now: datetime) -> str:
    """Whom the strategy serves, without the conditions in front of it."""
    fixed = {
        Strategy.ALL_ON: "on for everybody",
        Strategy.ALL_OFF: "off for everybody",
        Strategy.KILL_SWITCH: "killed: off for everybody until it is enabled again",
        Strategy.WHITELIST: f"on only for {names(flag.whitelist)}",
        Strategy.BLACKLIST: f"on for everybody except {names(flag.blacklist)}",
        Strategy.RULES: _by_rules(flag),
    }
    if flag.strategy in fixed:
        return fixed[flag.strategy]
    return _by_ramp(flag) if flag.strategy is Strategy.GRADUAL else _by_percentage(flag, now)


def conditions(values: Mapping[str, Any]) -> list[str]:
    """What must hold before the strategy is asked, a phrase each, from a flag's columns."""
    phrases = [constraint(each) for each in values["constraints"]]
    phrases += [f"segment {name} holds" for name in values["segments"]]
    phrases += [f"the environment is {' or '.join(values['environments'])}"] if values["environments"] else []
    return phrases + [_prerequisite(each) for each in values["prerequisites"]]


def constraint(each: Mapping[str, Any]) -> str:
    """One constraint, from its JSON."""
    operator = str(each.get("operator", ""))
    listed = each.get("values") or []
    wanted = str(each["value"]) if not listed and each.get("value") not in {None, ""} else names(listed, "nothing")
    denied = "not: " if each.get("inverted") else ""
    case = ", whatever the case" if each.get("caseInsensitive") else ""
    return f"{denied}{each.get('contextName', '?')} {_OPERATORS.get(operator, operator)} {wanted}{case}"


def variants(listed: Iterable[Mapping[str, Any]]) -> str:
    """The variants with their shares; empty without any."""
    weights = [(str(each.get("name", "?")), _weight(each)) for each in listed]
    total = sum(weight for _, weight in weights)
    return ", ".join(f"{name} {weight / total:.0%}" if total else name for name, weight in weights)


def names(entries: Iterable[str], nobody: str = "nobody, as its list is empty") -> str:
    """The entries in a row, cut where they would fill the page."""
    listed = sorted(map(str, entries))
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more or nobody


def _weight(variant: Mapping[str, Any]) -> float:
    weight = variant.get("weight", 0)
    return weight if isinstance(weight, int | float) else 0


def _by_percentage(flag: FlagDefinition, now: datetime) -> str:
    served = share(flag, now)
    text = f"on for {served:g} %" + ("" if served else ", which is nobody")
    coming = [step for step in flag.schedule if step.at > now]
    if not coming:
        return text
    following = f", {len(coming) - 1} more steps follow" if len(coming) > 1 else ""
    return f"{text} now and {coming[0].percentage} % from {_moment(coming[0].at)}{following}"


def _by_ramp(flag: FlagDefinition) -> str:
    begin = f" from {flag.gradual_from} %" if flag.gradual_from else ""
    text = f"on for a share that grows{begin} to {flag.percentage} %"
    if flag.gradual_start is None or flag.gradual_end is None:
        return text
    return f"{text} from {_moment(flag.gradual_start)} to {_moment(flag.gradual_end)}"


def _by_rules(flag: FlagDefinition) -> str:
    if not flag.rules:
        return "on for everybody, as it has no rules"
    return f"on where one of its rules holds ({', '.join(rule.name for rule in flag.rules[:_SHOWN])})"


def _prerequisite(each: Mapping[str, Any]) -> str:
    if each.get("enabled", True) is False:
        return f"{each.get('feature')} is off"
    if each.get("variants"):
        return f"{each.get('feature')} serves {' or '.join(map(str, each['variants']))}"
    return f"{each.get('feature')} is on"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
