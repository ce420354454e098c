"""Which flags have done their work, or were forgotten: a report for their owners.

A flag that is expired goes on being evaluated as before: a date must not change what is traded. Flags that ship
with Helios are switches to stay, so that standing still is no news about them; expiry and a long kill are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from helios.flags import catalog, process
from helios.flags.core.buckets import share
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation import constant
from helios.flags.models import FeatureFlag, FeatureFlagHistory, State
from helios.flags.reader import definition_from

DEFAULT_DAYS: Final = 30
_NOTES: Final = frozenset({"name", "description", "owner", "expires_at"})  # fields that change no answer
ACTIONS: Final[Mapping[str, str]] = {
    "expired": "remove the flag and the branch it no longer chooses, or give it a new date",
    "on for everybody": "keep its on branch, remove the flag and the off branch",
    "off for everybody": "keep its off branch, remove the flag and the on branch",
    "killed": "repair what it was killed for and enable it, or remove it",
    "unchanged": "finish its roll-out, or take it back",
    "unknown": "create the flag, or remove the question from the code: it is answered with off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleFlag:
    """One flag and one reason to look at it; `since` is when that reason began."""

    name: str
    reason: str
    owner: str
    since: datetime | None
    days: int
    action: str

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "since": self.since and self.since.isoformat()}


def report(*, days: int = DEFAULT_DAYS, now: datetime | None = None) -> list[StaleFlag]:
    """Every flag that stood still for `days` or longer, is expired, or was asked for here and does not exist."""
    moment = now or timezone.now()
    changed = _last_real_changes()
    found = [
        each
        for flag in FeatureFlag.objects.order_by("name")
        for each in assess(flag, changed.get(flag.name, flag.created_at), days=days, now=moment)
    ]
    return found + [_asked_for(name, count) for name, count in sorted(process.unknown().items())]


def assess(flag: FeatureFlag, changed: datetime, *, days: int, now: datetime) -> list[StaleFlag]:
    """The reasons to look at one flag; `changed` is when an answer of it changed last by hand."""
    found = []
    if flag.expires_at is not None and flag.expires_at <= now:
        found.append(_stale(flag, "expired", flag.expires_at, now))
    reason, since = _standing(definition_from(vars(flag)), changed, now)
    stays = flag.name in catalog.BY_NAME and reason != "killed"
    if not stays and now - since >= timedelta(days=days):
        found.append(_stale(flag, reason, since, now))
    return found


def _standing(flag: FlagDefinition, changed: datetime, now: datetime) -> tuple[str, datetime]:
    """How the flag stands, and since when: a ramp or a schedule moves by itself until its end."""
    if flag.strategy is Strategy.KILL_SWITCH:
        return "killed", changed
    moved = max([changed, *_ends(flag, now)])
    answer = constant(flag)
    if answer is None and flag.strategy in {Strategy.GRADUAL, Strategy.PERCENTAGE} and not _conditional(flag):
        settled = not any(step.at > now for step in flag.schedule) and not (flag.gradual_end and flag.gradual_end > now)
        answer = {0: False, 100: True}.get(int(share(flag, now))) if settled else None
    return {True: "on for everybody", False: "off for everybody", None: "unchanged"}[answer], moved


def _ends(flag: FlagDefinition, now: datetime) -> Iterable[datetime]:
    """The moments up to which the flag moved by itself; one that still moves, moves now."""
    if not flag.enabled:
        return
    moments = [step.at for step in flag.schedule] if flag.strategy is Strategy.PERCENTAGE else []
    if flag.strategy is Strategy.GRADUAL and flag.gradual_end is not None:
        moments.append(flag.gradual_end)
    for moment in moments:
        yield min(moment, now)


def _conditional(flag: FlagDefinition) -> bool:
    return bool(flag.constraints or flag.segments or flag.prerequisites or flag.environments)


def _last_real_changes() -> dict[str, datetime]:
    """When each flag last changed in more than its notes, by its history."""
    rows = FeatureFlagHistory.objects.order_by("id").values_list("flag_id", "ts", "before", "after")
    return {str(name): ts for name, ts, before, after in rows.iterator() if _is_real(before or {}, after or {})}


def _is_real(before: State, after: State) -> bool:
    return any(before.get(key) != value for key, value in after.items() if key not in _NOTES)


def _stale(flag: FeatureFlag, reason: str, since: datetime, now: datetime) -> StaleFlag:
    return StaleFlag(
        name=flag.name,
        reason=reason,
        owner=flag.owner,
        since=since,
        days=(now - since).days,
        action=ACTIONS[reason],
    )


def _asked_for(name: str, count: int) -> StaleFlag:
    asked = f"asked for {count} times in this process; " if count > 1 else "asked for once in this process; "
    return StaleFlag(name=name, reason="unknown", owner="", since=None, days=0, action=asked + ACTIONS["unknown"])
