"""Reading flags for people: rows by name, as plain values, and in words."""

from __future__ import annotations

import difflib
from datetime import datetime

from helios.flags.checks import EDITABLE
from helios.flags.core import FlagDefinition, Strategy
from helios.flags.errors import UnknownFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, State
from helios.flags.reader import definition_from


def get(name: str) -> FeatureFlag:
    """The flag's row; raises `UnknownFlagError`, with the nearest name when one is near."""
    flag = FeatureFlag.objects.filter(name=name).first()
    if flag is None:
        raise unknown_flag(name)
    return flag


def unknown_flag(name: str) -> UnknownFlagError:
    """The error for a name that no flag has."""
    close = difflib.get_close_matches(name, FeatureFlag.objects.values_list("name", flat=True), n=1)
    hint = f"did you mean {close[0]}?" if close else "`manage.py flags list` shows the names"
    return UnknownFlagError(f"a flag's name must be a known one, was {name!r}; {hint}")


def state(flag: FeatureFlag) -> State:
    """The flag as plain JSON values; times in ISO 8601."""
    values = {name: getattr(flag, name) for name in ("name", *EDITABLE, "resume_strategy")}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def effect(flag: FeatureFlag) -> str:
    """Whom the flag serves now, in words."""
    definition = definition_from(vars(flag))
    if definition.strategy is Strategy.KILL_SWITCH:
        return "killed: off for everybody until it is enabled again"
    if not definition.enabled:
        return f"off for everybody; once enabled, {_serves(definition)}"
    return _serves(definition)


def difference(row: FeatureFlagHistory) -> str:
    """The fields that a change touched, as `field old -> new`; empty where the flag came or went."""
    before, after = row.before or {}, row.after or {}
    changed = [name for name in after if before and before.get(name) != after[name]]
    return ", ".join(f"{name} {short(before.get(name))} -> {short(after[name])}" for name in changed)


def short(value: object) -> str:
    """A value of a flag for a line of text; a dash for nothing."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)


def _serves(flag: FlagDefinition) -> str:
    words = {
        Strategy.ALL_ON: "on for everybody",
        Strategy.ALL_OFF: "off for everybody",
        Strategy.PERCENTAGE: f"on for {flag.percentage} %" + ("" if flag.percentage else ", which is nobody"),
        Strategy.GRADUAL: f"on for a share that grows to {flag.percentage} %{_times(flag)}",
        Strategy.WHITELIST: f"on only for {_names(flag.whitelist)}",
        Strategy.BLACKLIST: f"on for everybody except {_names(flag.blacklist)}",
    }
    return words[flag.strategy]


def _times(flag: FlagDefinition) -> str:
    if flag.gradual_start is None or flag.gradual_end is None:
        return ""
    return f" from {flag.gradual_start:%Y-%m-%d %H:%M} to {flag.gradual_end:%Y-%m-%d %H:%M} UTC"


def _names(entries: frozenset[str]) -> str:
    return ", ".join(sorted(entries)) or "nobody, as its list is empty"
