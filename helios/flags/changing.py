"""How a change is written: rows, history, events and one generation in one transaction, then the announcement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from django.conf import settings
from django.db import transaction

from helios import events
from helios.control import generations
from helios.flags import process
from helios.flags.announce import announce
from helios.flags.core.fields import check_actor, check_text
from helios.flags.errors import ChangedMeanwhileError
from helios.flags.models import (
    FeatureFlag,
    FeatureFlagHistory,
    FlagSegment,
    FlagSegmentHistory,
    State,
)
from helios.flags.references import check_references, references
from helios.flags.selectors import segment_state, state, unknown_flag, unknown_segment
from helios.flags.validity import check_flag, check_segment


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
    written: int = 0

    def flag(self, name: str, version: int | None = None) -> FeatureFlag:
        """The flag's row, locked; with `version`, only if nobody changed the flag since it stood at that."""
        row = FeatureFlag.objects.select_for_update().filter(name=name).first()
        if row is None:
            raise unknown_flag(name)
        _refuse_second(row, version)
        return row

    def segment(self, name: str, version: int | None = None) -> FlagSegment:
        """The segment's row, locked; `version` as for a flag."""
        row = FlagSegment.objects.select_for_update().filter(name=name).first()
        if row is None:
            raise unknown_segment(name)
        _refuse_second(row, version)
        return row

    def write_flag(self, row: FeatureFlag, before: State | None, action: str) -> Change:
        """Save a changed or new flag with its history; a flag that is as it was leaves no trace."""
        after = state(row)
        if after == before:
            return Change(name=row.name, action=action, before=before, after=after, generation=row.generation)
        check_flag(row)
        self._stamp(row)
        if before is None or references(before) != references(after):
            self.touched.add(row.name)
        return self._flag_change(row.name, action, before, after)

    def remove_flag(self, row: FeatureFlag, action: str) -> Change:
        """Take a flag out of the table; its history stays."""
        before = state(row)
        self._count()
        row.delete()
        return self._flag_change(row.name, action, before, None)

    def write_segment(self, row: FlagSegment, before: State | None, action: str) -> Change:
        """Save a changed or new segment with its history."""
        after = segment_state(row)
        if after == before:
            return Change(name=row.name, action=action, before=before, after=after, generation=row.generation)
        check_segment(row)
        self._stamp(row)
        return self._segment_change(row.name, action, before, after)

    def remove_segment(self, row: FlagSegment, action: str) -> Change:
        """Take a segment out of the table; its history stays."""
        before = segment_state(row)
        self._count()
        row.delete()
        return self._segment_change(row.name, action, before, None)

    def _flag_change(self, name: str, action: str, before: State | None, after: State | None) -> Change:
        change = Change(name=name, action=action, before=before, after=after, generation=self.generation)
        FeatureFlagHistory.objects.create(flag_id=name, **self._entry(change))
        self._tell("flag.changed", change)
        return change

    def _segment_change(self, name: str, action: str, before: State | None, after: State | None) -> Change:
        change = Change(name=name, action=action, before=before, after=after, generation=self.generation)
        FlagSegmentHistory.objects.create(segment_id=name, **self._entry(change))
        self._tell("flag.segment_changed", change)
        return change

    def _entry(self, change: Change) -> dict[str, object]:
        return {
            "action": change.action,
            "actor": self.actor,
            "reason": self.reason,
            "before": change.before,
            "after": change.after,
            "generation": change.generation,
        }

    def _tell(self, kind: str, change: Change) -> None:
        severity = "warning" if change.action == "kill" else "info"
        events.record(kind=kind, severity=severity, source="flags", subject=change.name, data=self._entry(change))

    def _stamp(self, row: FeatureFlag | FlagSegment) -> None:
        self._count()
        row.generation, row.version = self.generation, row.version + 1
        row.save()

    def _count(self) -> None:
        """Take the next generation with the first row that is written."""
        if not self.written:
            self.generation = generations.advance("flags")
        self.written += 1


@contextmanager
def changes(*, actor: str, reason: str = "", dry_run: bool = False) -> Iterator[Batch]:
    """A transaction for changes. The generation is locked first: two changes never wait for each other.

    What the changes refer to is checked at the end, so that flags of one batch may need each other. Raises
    `InvalidFlagError` with one sentence; then nothing of the batch is kept, as after a `dry_run`.
    """
    check_actor(actor)
    check_text("reason", reason)
    with transaction.atomic():
        generations.lock("flags")
        batch = Batch(actor, reason)
        yield batch
        if batch.touched:
            check_references(batch.touched)
        if dry_run:
            transaction.set_rollback(True)
        elif batch.written:
            transaction.on_commit(partial(_committed, batch.generation), robust=True)


def _committed(generation: int) -> None:
    process.refresh_if_behind()
    announce(settings.REDIS_URL, generation)


def _refuse_second(row: FeatureFlag | FlagSegment, version: int | None) -> None:
    """Tell the second of two editors who was first; nothing of either is lost then."""
    if version is None or row.version == version:
        return
    first = row.history.first()
    by = f" by {first.actor}" if first else ""
    raise ChangedMeanwhileError(
        f"{row.name} must still be at version {version}, is at {row.version}: it was changed meanwhile{by};"
        " look at it again, then repeat your change"
    )
