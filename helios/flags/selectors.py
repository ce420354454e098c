"""Reading flags for people: rows by name, as plain values, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from helios.flags import catalog, describe
from helios.flags.core.definition import Strategy
from helios.flags.errors import UnknownChangeError, UnknownFlagError, UnknownSegmentError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment, FlagSegmentHistory, State
from helios.flags.reader import definition_from
from helios.spelling import nearest


def get(name: str) -> FeatureFlag:
    """The flag's row; raises `UnknownFlagError`, with the nearest name when one is near."""
    flag = FeatureFlag.objects.filter(name=name).first()
    if flag is None:
        raise unknown_flag(name)
    return flag


def get_segment(name: str) -> FlagSegment:
    """The segment's row; raises `UnknownSegmentError`, with the nearest name when one is near."""
    segment = FlagSegment.objects.filter(name=name).first()
    if segment is None:
        raise unknown_segment(name)
    return segment


def unknown_flag(name: str) -> UnknownFlagError:
    """The error for a name that no flag has."""
    return UnknownFlagError(f"a flag's name must be a known one, was {name!r}; {_hint(FeatureFlag, name, 'list')}")


def unknown_segment(name: str) -> UnknownSegmentError:
    """The error for a name that no segment has."""
    hint = _hint(FlagSegment, name, "segments")
    return UnknownSegmentError(f"a segment's name must be a known one, was {name!r}; {hint}")


def _hint(model: type[FeatureFlag | FlagSegment], name: str, action: str) -> str:
    close = nearest(name, model.objects.values_list("name", flat=True))
    return f"did you mean {close}?" if close else f"`manage.py flags {action}` shows the names"


def history_entry(name: str, entry: int) -> FeatureFlagHistory:
    """One change of the flag by its id; raises `UnknownChangeError` for that of another flag or of none."""
    row = FeatureFlagHistory.objects.filter(pk=entry, flag_id=name).first()  # type: ignore[misc]  # the key is a name
    if row is None:
        raise UnknownChangeError(
            f"a change must be one of {name}'s history, was {entry};"
            f" `manage.py flags history {name}` shows their numbers"
        )
    return row


def last_state(name: str) -> State:
    """How an archived flag was before it went; raises `UnknownFlagError` for one that never was."""
    last = FeatureFlagHistory.objects.filter(flag_id=name).first()  # type: ignore[misc]
    past = (last.after or last.before) if last else None
    if past is None:
        raise unknown_flag(name)
    return dict(past)


def effect(flag: FeatureFlag, now: datetime | None = None) -> str:
    """Whom the flag serves now, in words."""
    return effect_of(vars(flag), now)


def effect_of(values: Mapping[str, Any], now: datetime | None = None) -> str:
    """The same from column values, which need not be those of a row."""
    definition = definition_from(values)
    text = describe.serves(definition, now or timezone.now())
    if definition.strategy is Strategy.KILL_SWITCH:
        return text
    needs = describe.conditions(values)
    text += f", if {' and '.join(needs)}" if needs else ""
    shares = describe.variants(values["variants"])
    text += f"; variants: {shares}" if shares else ""
    return text if definition.enabled else f"off for everybody; once enabled, {text}"


def outcomes(flag: FeatureFlag) -> dict[str, str]:
    """What each button would do to the flag, in words: whom it serves then, and what that means for the pipeline."""
    on = {**vars(flag), "enabled": True, "strategy": flag.resume_strategy or flag.strategy, "resume_strategy": ""}
    shipped = catalog.BY_NAME.get(flag.name)
    means_on, means_off = (f": {shipped.on}", f": {shipped.off}") if shipped else ("", "")
    return {
        "enable": f"{effect_of(on)}{means_on}",
        "disable": f"off for everybody until it is enabled{means_off}",
        "kill": f"off for everybody at once, and held off until somebody enables it on purpose{means_off}",
    }


def difference(row: FeatureFlagHistory | FlagSegmentHistory) -> str:
    """The fields that a change touched, as `field old -> new`; empty where the flag came or went."""
    before, after = row.before or {}, row.after or {}
    changed = [name for name in after if name in before and before[name] != after[name]]
    return ", ".join(f"{name} {short(before[name])} -> {short(after[name])}" for name in changed)


def short(value: object) -> str:
    """A value of a flag for a line of text; a dash for nothing."""
    if isinstance(value, list):
        return ",".join(_short_entry(each) for each in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)


def _short_entry(entry: object) -> str:
    """An entry of a list: a text as it is, a JSON object by what names it."""
    if not isinstance(entry, dict):
        return str(entry)
    if "operator" in entry:
        return f"({describe.constraint(entry)})"
    if "at" in entry:
        return f"{entry.get('percentage')}% from {entry['at']}"
    return str(entry.get("name", entry.get("feature", entry)))
