"""Who follows the event bus: a group of consumers, each event to one of them, until it is done or set aside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger

from helios.db.lengths import LONG
from helios.db.text import clean
from helios.errors import Conflict, DataError, NotFound, error_text
from helios.events.bus import BEGINNING, Bus, Entry, Event, key
from helios.events.models import PoisonMessage

PATIENCE: Final = 3  # times that an event is handed out before it is set aside
IDLE_MS: Final = 60_000  # after which an event that a consumer has taken and not done is handed out again
AT_ONCE: Final = 10
KEPT: Final = 1_000  # of what was set aside, of a topic for a group
GROUP: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(slots=True, kw_only=True)
class Consumer:
    """One member of a group; `handle` does what an event asks for, and may be asked again where it failed or died."""

    bus: Bus
    group: str
    name: str
    topics: Sequence[str]
    handle: Callable[[Event], None]
    idle_ms: int = IDLE_MS

    def join(self, after: str = BEGINNING) -> None:
        """Make the group where there is none yet, which then begins behind this place (`$`: with what comes).

        Raises: `DataError` where the group has no name.
        """
        if not GROUP.fullmatch(self.group):
            raise DataError(f"a group must have 1 to 64 of a-z 0-9 _ . - in its name, was {self.group[:80]!r}")
        for topic in self.topics:
            with contextlib.suppress(Conflict), self.bus.asking():
                self.bus.client.xgroup_create(key(topic), self.group, after, mkstream=True)

    def step(self, wait_ms: int = 1_000) -> int:
        """Take what is there, waiting this long at most, and do it; how many events were done or set aside."""
        try:
            given_back = self._given_back()
            entries = self._left_over() or ([] if given_back else self._new(wait_ms))
        except NotFound:
            self.join()  # the bus has lost everything, and with it the group
            return 0
        return sum(self._do(entry, last=True) for entry in given_back) + sum(map(self._do, entries))

    def _new(self, wait_ms: int) -> list[Entry]:
        with self.bus.asking():
            streams: dict[Any, Any] = {key(topic): ">" for topic in self.topics}
            found: Any = self.bus.client.xreadgroup(self.group, self.name, streams, AT_ONCE, wait_ms or None)
        by_key = {key(topic).encode(): topic for topic in self.topics}
        return [self.bus.entry(by_key[stream], *each) for stream, entries in found or () for each in entries]

    def _left_over(self) -> list[Entry]:
        """What some consumer of the group has taken long ago and not done."""
        found = list[Entry]()
        for topic in self.topics:
            with self.bus.asking():
                _, entries, *_ = self.bus.client.xautoclaim(
                    key(topic), self.group, self.name, self.idle_ms, BEGINNING, AT_ONCE
                )
            found += [self.bus.entry(topic, *each) for each in entries]
        return found

    def _given_back(self) -> list[Entry]:
        """What a person has given back to the group, of what it had set aside."""
        rows = PoisonMessage.objects.filter(group=self.group, topic__in=self.topics, state=PoisonMessage.State.AGAIN)
        mine = [row for row in rows[:AT_ONCE] if rows.filter(pk=row.pk).update(state=PoisonMessage.State.ASIDE)]
        return [self.bus.entry(row.topic, row.entry.encode(), {b"body": row.body.encode()}) for row in mine]

    def _do(self, entry: Entry, *, last: bool = False) -> bool:
        """Have an event done, or set aside after its `last` try; False where it is tried again."""
        fault = entry.fault
        if entry.event is not None and (times := self._times(entry)) > PATIENCE:  # whoever began with it may have died
            fault = f"was begun {PATIENCE} times, and done by nobody"
        elif entry.event is not None:
            try:
                self.handle(entry.event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next event may need nothing of it
                fault = error_text(error)
                if times < PATIENCE and not last:
                    logger.bind(topic=entry.topic, entry=entry.id, error=fault).warning("bus.not_done")
                    return False
        if fault:
            self._set_aside(entry, fault)
        elif last:
            rows = PoisonMessage.objects.filter(topic=entry.topic, group=self.group, entry=entry.id)
            rows.update(state=PoisonMessage.State.DONE)
        with self.bus.asking():
            pipe = self.bus.client.pipeline(transaction=True)
            pipe.xack(key(entry.topic), self.group, entry.id)
            pipe.hdel(self._begun(entry), entry.id)
            pipe.execute()
        return True

    def _times(self, entry: Entry) -> int:
        """How often an event was begun, this time among them."""
        with self.bus.asking():
            return int(self.bus.client.hincrby(self._begun(entry), entry.id, 1))

    def _begun(self, entry: Entry) -> str:
        return f"helios:bus-begun:{entry.topic}:{self.group}"

    def _set_aside(self, entry: Entry, fault: str) -> None:
        part = clean(entry.body).encode()[:LONG].decode(errors="ignore")  # of a longer one, which nobody takes in
        told = {"body": part, "fault": clean(fault)[:255]}
        PoisonMessage.objects.bulk_create(
            [PoisonMessage(topic=entry.topic, group=self.group, entry=entry.id, **told)],
            update_conflicts=True,
            unique_fields=["topic", "group", "entry"],
            update_fields=[*told, "state", "updated_at"],
        )
        of_group = PoisonMessage.objects.filter(topic=entry.topic, group=self.group).order_by("-pk")
        PoisonMessage.objects.filter(pk__in=[row.pk for row in of_group.only("pk")[KEPT : KEPT + AT_ONCE]]).delete()
        logger.bind(topic=entry.topic, group=self.group, entry=entry.id, fault=fault).error("bus.set_aside")
