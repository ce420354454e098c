"""`manage.py bus`: what the event bus holds, what was told on it, and following it as one of a group."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from argparse import ArgumentParser
from typing import Any

from loguru import logger

from helios.db.failures import UNAVAILABLE
from helios.errors import DataError, Transient, error_text
from helios.events.bus import BEGINNING, Bus, Event, key
from helios.events.consumer import Consumer
from helios.plain_command import PlainCommand
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.live import relay

AWAY_S = 1.0


class Command(PlainCommand):
    help = "Show the event bus (status), what was told on a topic (read), or follow topics as one of a group (follow)."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["status", "read", "follow"])
        parser.add_argument("topics", nargs="*", metavar="TOPIC", help="such as market or trade; default: all")
        where = (
            f"read: the next behind this entry ({BEGINNING}: the oldest), not the newest; "
            "follow: where a group begins that is new; $: with what comes from now on"
        )
        parser.add_argument("--after", metavar="ID", help=where)
        parser.add_argument("-n", type=int, default=100, help="entries to read of a topic; default: 100")
        parser.add_argument("--json", action="store_true", help="print JSON, as read and follow always do")
        parser.add_argument("--group", help="whose place in the streams is kept, and who shares the work")

    def handle(self, **options: Any) -> None:
        bus = relay.bus()
        topics = options["topics"] or list(bus.kinds)
        if unknown := [topic for topic in topics if topic not in bus.kinds]:
            raise DataError(f"a topic must be one of {', '.join(bus.kinds)}, was {unknown[0]!r}")
        if options["action"] == "status":
            self._status(bus, topics, as_json=options["json"])
        elif options["action"] == "read":
            self._read(bus, topics, options)
        else:
            self._follow(bus, topics, options)

    def _status(self, bus: Bus, topics: list[str], *, as_json: bool) -> None:
        found: dict[str, Any] = {}
        for topic in topics:
            with bus.asking():
                n = bus.client.xlen(key(topic))
                groups: Any = bus.client.xinfo_groups(key(topic)) if n else []
            of_groups = {each["name"].decode(): {"in_work": each["pending"], "behind": each["lag"]} for each in groups}
            found[topic] = {"events": n, "groups": of_groups}
        if as_json:
            self.stdout.write(json.dumps({"topics": found}))
            return
        for topic, told in found.items():
            self.stdout.write(f"{topic}: {told['events']} events")
            for name, group in told["groups"].items():
                behind = "" if group["behind"] is None else f", {group['behind']} not yet taken"
                self.stdout.write(printable(f"  {name}: {group['in_work']} in work{behind}"))

    def _read(self, bus: Bus, topics: list[str], options: dict[str, Any]) -> None:
        n, after = options["n"], options["after"]
        for topic in topics:
            entries, left = (bus.read(topic, after, n=n), 0) if after else bus.newest(topic, n=n)
            for entry in entries:
                told = {"topic": topic, "id": entry.id}
                said = {"fault": entry.fault} if entry.event is None else {"event": entry.event.model_dump(mode="json")}
                self.stdout.write(json.dumps(told | said))
            if left:
                self.stderr.write(f"{left} older events of {topic}: --after {BEGINNING} begins with them")
            elif after and len(entries) == n:
                self.stderr.write(f"More of {topic} may follow: --after {entries[-1].id}")

    def _follow(self, bus: Bus, topics: list[str], options: dict[str, Any]) -> None:
        """Print events as lines of JSON; one counts as done once its line is written."""
        if not options["group"]:
            raise DataError("follow needs --group NAME, whose place in the streams is kept")
        ending = []
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: ending.append(True))
        name = f"{socket.gethostname()}:{os.getpid()}"
        consumer = Consumer(bus=bus, group=options["group"], name=name, topics=topics, handle=self._print)
        consumer.join(options["after"] or BEGINNING)
        while not ending:
            try:
                consumer.step()
            except (Transient, *UNAVAILABLE) as error:  # what it follows will be there when they are back
                logger.bind(error=error_text(error)).warning("bus.away")
                time.sleep(AWAY_S)

    def _print(self, event: Event) -> None:
        self.stdout.write(json.dumps({"topic": event.topic, "event": event.model_dump(mode="json")}))
        self.stdout.flush()
