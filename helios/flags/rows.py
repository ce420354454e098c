"""Rows of flags and segments as they change: read under a lock, checked, written with their history."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import models, transaction

from helios.control import bounds
from helios.control.change import Subject, check_version, locked
from helios.flags import catalog, judging, process
from helios.flags.core.definition import NAME, Strategy
from helios.flags.core.fields import EDITABLE
from helios.flags.errors import InvalidFlagError, NameTakenError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment, FlagSegmentHistory, State
from helios.flags.reader import definition_from, segment_from
from helios.flags.references import check_references, references
from helios.flags.selectors import unknown_flag, unknown_segment

FLAGS: Final = Subject(name="flags", refused=InvalidFlagError, follow=process.refresh_if_behind)
_FIELD: Final = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a request did to a flag or a segment.

    `before` is None for a new one and `after` for one that went; they are equal if nothing was to do.
    """

    name: str
    action: str
    before: State | None
    after: State | None
    generation: int

    @property
    def changed(self) -> bool:
        """False when all was as requested already; then nothing was written."""
        return self.before != self.after


@dataclass(slots=True)
class Batch:
    """The changes of one transaction: one actor, one reason, one generation, one announcement."""

    actor: str
    reason: str
    generation: int = 0  # once something is written
    touched: set[str] = field(default_factory=set)  # flags that refer to others than before
    grown: bool = False  # all flags and segments together are more than before

    def flag(self, name: str, version: int | None = None) -> FeatureFlag:
        """The flag's row, locked; with `version`, only if nobody changed the flag since it stood at that."""
        row = locked(FeatureFlag.objects.filter(name=name), lambda: unknown_flag(name))
        check_version(row, version, row.history.all())
        return row

    def segment(self, name: str, version: int | None = None) -> FlagSegment:
        """The segment's row, locked; `version` as for a flag."""
        row = locked(FlagSegment.objects.filter(name=name), lambda: unknown_segment(name))
        check_version(row, version, row.history.all())
        return row

    def save(
        self, model: type[FeatureFlag | FlagSegment], name: str, fields: Mapping[str, Any], *, new: bool
    ) -> Change:
        """Write a `new` row, or these fields, which are `ready`, over what is there."""
        row = model.objects.select_for_update().filter(name=name).first()
        if row is not None and new:
            what = "flag" if model is FeatureFlag else "segment"
            raise NameTakenError(f"a new {what}'s name must be free, was taken: {name}", "name")
        before = state(row) if row else None
        if isinstance(row, FeatureFlag) and {"enabled", "strategy"} & fields.keys():
            refuse_killed(row)
        row = row or model(name=name)
        assign(row, fields)
        return self.write(row, before, "edit" if before else "create")

    def write(self, row: FeatureFlag | FlagSegment, before: State | None, action: str) -> Change:
        """Save a changed or new row with its history; one that is as it was leaves no trace."""
        after = state(row)
        if after == before:
            return Change(name=row.name, action=action, before=before, after=after, generation=row.generation)
        self._check_bounds(row, before, after)
        check(row)
        row.generation, row.version = self._count(), row.version + 1
        row.save()
        if isinstance(row, FeatureFlag) and (before is None or references(before) != references(after)):
            self.touched.add(row.name)
        return self._noted(row, action, before, after)

    def remove(self, row: FeatureFlag | FlagSegment, action: str) -> Change:
        """Take a row out of its table; its history stays."""
        before = state(row)
        self._count()
        row.delete()
        return self._noted(row, action, before, None)

    def _check_bounds(self, row: FeatureFlag | FlagSegment, before: State | None, after: State) -> None:
        """Every process holds them all: one more has to find room, and none grows beyond its own."""
        shipped = row.name in catalog.BY_NAME
        if before is None and isinstance(row, FlagSegment):
            bounds.check_room(FlagSegment.objects.all(), bounds.SEGMENTS, "segments", InvalidFlagError)
        elif before is None and not shipped:
            others = FeatureFlag.objects.exclude(name__in=catalog.BY_NAME)
            bounds.check_room(others, bounds.FLAGS, "flags", InvalidFlagError)
        judging.check_cost(row.name, after, before)
        self.grown |= judging.grew(before, after) and not (before is None and shipped)

    def _noted(self, row: FeatureFlag | FlagSegment, action: str, before: State | None, after: State | None) -> Change:
        change = Change(name=row.name, action=action, before=before, after=after, generation=self.generation)
        entry = {
            "action": action,
            "actor": self.actor,
            "reason": self.reason,
            "before": before,
            "after": after,
            "generation": self.generation,
        }
        if isinstance(row, FeatureFlag):
            FeatureFlagHistory.objects.create(flag_id=row.name, **entry)
        else:
            FlagSegmentHistory.objects.create(segment_id=row.name, **entry)
        kind = "flag.changed" if isinstance(row, FeatureFlag) else "flag.segment_changed"
        FLAGS.record(kind, row.name, entry, severity="warning" if action == "kill" else "info")
        return change

    def _count(self) -> int:
        """Take the next generation with the first row that is written."""
        self.generation = self.generation or FLAGS.moved()
        return self.generation


@contextmanager
def changes(*, actor: str, reason: str = "", dry_run: bool = False) -> Iterator[Batch]:
    """A transaction for changes of flags and segments.

    What a change writes is judged before it: a kill waits for its lock. What the changes refer to is checked at the
    end, so that flags of one batch may need each other. Raises `InvalidFlagError` with one sentence; then nothing of
    the batch is kept, as after a `dry_run`.
    """
    with FLAGS.changing(actor=actor, reason=reason):
        batch = Batch(actor, reason)
        yield batch
        if batch.touched:
            check_references(batch.touched)
        if batch.grown:
            judging.check_all()
        if dry_run:
            transaction.set_rollback(True)


def state(row: FeatureFlag | FlagSegment) -> State:
    """The row as plain JSON values; times in ISO 8601."""
    if isinstance(row, FlagSegment):
        return {"name": row.name, "description": row.description, "constraints": row.constraints}
    values = {name: getattr(row, name) for name in ("name", *EDITABLE, "resume_strategy")}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def check(row: FeatureFlag | FlagSegment) -> None:
    """Raise `InvalidFlagError` where the fields contradict each other or cannot be read."""
    if isinstance(row, FlagSegment) and not NAME.fullmatch(row.name):
        shown = row.name[:120]
        raise InvalidFlagError(f"a segment's name must be 1 to 100 letters, digits or _ . ~ -, was {shown!r}", "name")
    read: Callable[[dict[str, Any]], object] = segment_from if isinstance(row, FlagSegment) else definition_from
    try:
        read(vars(row))
    except ValueError as error:
        raise InvalidFlagError(str(error), _field(row, str(error))) from error


def _field(row: models.Model, sentence: str) -> str:
    """The field with which the sentence begins, as in `constraints[0].operator must be ...`; else none."""
    if isinstance(row, FlagSegment):
        return "constraints"
    found = _FIELD.match(sentence)
    return found.group() if found and found.group() in EDITABLE else ""


def refuse_killed(flag: FeatureFlag) -> None:
    """Raise `InvalidFlagError` where the flag is killed: it comes back by `enable` alone."""
    if flag.strategy == Strategy.KILL_SWITCH:
        raise InvalidFlagError(f"a flag must not be killed for this change, {flag.name} is: enable it first")


def assign(row: FeatureFlag | FlagSegment, fields: Mapping[str, Any]) -> None:
    """Give the row these fields, which are ready; nothing is written."""
    for name, value in fields.items():
        setattr(row, name, value)
