"""Changing flags: row, history, event and generation in one transaction, announced when it is committed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from helios import events
from helios.flags import catalog, process
from helios.flags.announce import announce
from helios.flags.checks import check_entries, check_field
from helios.flags.core import Strategy
from helios.flags.errors import ChangedMeanwhileError, InvalidFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagGeneration, State
from helios.flags.reader import definition_from
from helios.flags.selectors import state, unknown_flag

DEFAULT_RAMP: Final = timedelta(days=7)  # of a gradual flag that is enabled before it was given times


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a request did to a flag. `before`: None for a new one, equal to `after` if nothing was to do."""

    name: str
    action: str
    before: State | None
    after: State
    generation: int

    @property
    def changed(self) -> bool:
        """False when the flag already was as requested; then nothing was written."""
        return self.before != self.after


def enable(name: str, *, actor: str, reason: str = "", now: datetime | None = None) -> Change:
    """Switch a flag on. A killed one gets its strategy back; a gradual one without times starts now."""

    def apply(flag: FeatureFlag) -> None:
        if flag.strategy == Strategy.KILL_SWITCH:
            flag.strategy, flag.resume_strategy = flag.resume_strategy, ""
        if flag.strategy == Strategy.GRADUAL and flag.gradual_start is None:
            flag.gradual_start = now or timezone.now()
            flag.gradual_end = flag.gradual_start + DEFAULT_RAMP
        flag.enabled = True

    return _change(name, "enable", apply, actor=actor, reason=reason)


def disable(name: str, *, actor: str, reason: str = "") -> Change:
    """Switch a flag off; its strategy stays, and waits."""

    def apply(flag: FeatureFlag) -> None:
        flag.enabled = False

    return _change(name, "disable", apply, actor=actor, reason=reason)


def kill(name: str, *, actor: str, reason: str = "") -> Change:
    """Switch a flag off for everybody and hold it there until it is enabled again on purpose."""

    def apply(flag: FeatureFlag) -> None:
        if flag.strategy != Strategy.KILL_SWITCH:
            flag.resume_strategy, flag.strategy = flag.strategy, Strategy.KILL_SWITCH.value
        flag.enabled = False

    return _change(name, "kill", apply, actor=actor, reason=reason)


def set_percentage(name: str, percentage: int, *, actor: str, reason: str = "") -> Change:
    """Serve this share of sticky ids, a whole number from 0 to 100. Does not enable a disabled flag."""

    def apply(flag: FeatureFlag) -> None:
        _refuse_killed(flag)
        flag.strategy, flag.percentage = Strategy.PERCENTAGE.value, percentage

    return _change(name, "set-percentage", apply, actor=actor, reason=reason)


def whitelist_add(name: str, entries: Iterable[str], *, actor: str, reason: str = "") -> Change:
    """Put symbols, users, strategies or systems on the whitelist, which acts under that strategy only."""
    wanted = _entries(entries)

    def apply(flag: FeatureFlag) -> None:
        flag.whitelist = sorted({*flag.whitelist, *wanted})

    return _change(name, "whitelist-add", apply, actor=actor, reason=reason)


def whitelist_remove(name: str, entries: Iterable[str], *, actor: str, reason: str = "") -> Change:
    """Take entries off the whitelist; one that is not on it is an error, for it is most likely misspelt."""
    unwanted = set(_entries(entries))

    def apply(flag: FeatureFlag) -> None:
        absent = sorted(unwanted.difference(flag.whitelist))
        if absent:
            raise InvalidFlagError(
                f"entries to remove must be on the whitelist of {name}, was not: {', '.join(absent)}"
            )
        flag.whitelist = [entry for entry in flag.whitelist if entry not in unwanted]

    return _change(name, "whitelist-remove", apply, actor=actor, reason=reason)


def edit(
    name: str,
    changes: Mapping[str, Any],
    *,
    actor: str,
    reason: str = "",
    seen_generation: int | None = None,
) -> Change:
    """Set several fields of `checks.EDITABLE` at once.

    With `seen_generation`, the flag's own when it was read, a change made meanwhile raises
    `ChangedMeanwhileError`.
    """

    def apply(flag: FeatureFlag) -> None:
        if seen_generation is not None and flag.generation != seen_generation:
            raise ChangedMeanwhileError(
                f"{name} must still be as you saw it, was changed meanwhile: look again, then repeat yours"
            )
        if {"enabled", "strategy"} & changes.keys():
            _refuse_killed(flag)
        _assign(flag, changes)

    return _change(name, "edit", apply, actor=actor, reason=reason)


def create(name: str, fields: Mapping[str, Any] | None = None, *, actor: str, reason: str = "") -> Change:
    """Add a flag, disabled unless `fields` says otherwise."""
    with transaction.atomic():
        generation = _next_generation()
        if FeatureFlag.objects.filter(name=name).exists():
            raise InvalidFlagError(f"a new flag's name must be free, was taken: {name}")
        flag = FeatureFlag(name=name)
        _assign(flag, fields or {})
        return _write(flag, None, "create", generation, actor=actor, reason=reason)


def install_missing(*, actor: str, reason: str = "shipped with Helios") -> list[Change]:
    """Add the flags of the catalogue that the database lacks, with their defaults; the others stay."""
    with transaction.atomic():
        present = set(FeatureFlag.objects.values_list("name", flat=True))
        return [
            create(
                flag.name,
                {
                    "enabled": flag.enabled,
                    "strategy": flag.strategy,
                    "percentage": flag.percentage,
                    "description": flag.description,
                },
                actor=actor,
                reason=reason,
            )
            for flag in catalog.SHIPPED
            if flag.name not in present
        ]


def _change(name: str, action: str, apply: Callable[[FeatureFlag], None], *, actor: str, reason: str) -> Change:
    """Lock, apply, check, write. The generation is locked first: two changes never wait for each other."""
    with transaction.atomic():
        generation = _next_generation()
        flag = FeatureFlag.objects.select_for_update().filter(name=name).first()
        if flag is None:
            raise unknown_flag(name)
        before = state(flag)
        apply(flag)
        if state(flag) == before:
            return Change(name=name, action=action, before=before, after=before, generation=flag.generation)
        return _write(flag, before, action, generation, actor=actor, reason=reason)


def _next_generation() -> FlagGeneration:
    FlagGeneration.objects.get_or_create(pk=1)
    return FlagGeneration.objects.select_for_update().get(pk=1)


def _write(
    flag: FeatureFlag,
    before: State | None,
    action: str,
    generation: FlagGeneration,
    *,
    actor: str,
    reason: str,
) -> Change:
    _check(flag, actor)
    generation.value, generation.token = generation.value + 1, uuid.uuid4()
    generation.save()
    flag.generation = generation.value
    flag.save()
    after = state(flag)
    change = Change(name=flag.name, action=action, before=before, after=after, generation=generation.value)
    FeatureFlagHistory.objects.create(
        flag_id=flag.name,
        action=action,
        actor=actor,
        reason=reason,
        before=before,
        after=after,
        generation=generation.value,
    )
    events.record(
        kind="flag.changed",
        severity="warning" if action == "kill" else "info",
        source="flags",
        subject=flag.name,
        data={
            "action": action,
            "actor": actor,
            "reason": reason,
            "generation": generation.value,
            "before": before,
            "after": after,
        },
    )
    transaction.on_commit(partial(_committed, generation.value), robust=True)
    return change


def _committed(generation: int) -> None:
    process.refresh_if_behind()
    announce(settings.REDIS_URL, generation)


def _check(flag: FeatureFlag, actor: str) -> None:
    """Refuse, with one sentence, what the definition or the database would refuse."""
    if not actor:
        raise InvalidFlagError("a change must name its actor, was empty")
    try:
        definition_from(vars(flag))
    except ValueError as error:
        raise InvalidFlagError(str(error)) from error


def _assign(flag: FeatureFlag, changes: Mapping[str, Any]) -> None:
    for field, value in changes.items():
        check_field(field, value)
        setattr(flag, field, _plain(value))


def _plain(value: Any) -> Any:
    """The value as the column holds it: lists sorted and without doubles, so that equal sets look equal."""
    if isinstance(value, list | tuple | set | frozenset):
        return sorted(set(value))
    return value.value if isinstance(value, Strategy) else value


def _entries(entries: Iterable[str]) -> list[str]:
    """The entries, checked; a bare text stays one, so that it is refused instead of read letter by letter."""
    listed = entries if isinstance(entries, str) else list(entries)
    check_entries("whitelist", listed)
    return list(listed)


def _refuse_killed(flag: FeatureFlag) -> None:
    if flag.strategy == Strategy.KILL_SWITCH:
        raise InvalidFlagError(f"a flag must not be killed for this change, {flag.name} is: enable it first")
