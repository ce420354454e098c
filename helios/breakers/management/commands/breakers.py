"""`manage.py breakers`: look at the circuit breakers and set them."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from helios.breakers import services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.errors import HeliosError

HISTORY = 10


class Command(BaseCommand):
    help = "List, show, reset, open and close circuit breakers."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        every = {
            "list": "every breaker and its state",
            "show": "one breaker, its settings and its last transitions",
            "reset": "close it and forget past failures",
            "open": "refuse every call until a person closes it",
            "close": "let calls pass again",
            "restore": "put back shipped breakers that are missing",
        }
        for name, text in every.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name not in {"list", "restore"}:
                action.add_argument("name", nargs="?" if name == "reset" else None)
            if name == "reset":
                action.add_argument("--all", action="store_true", help="reset every breaker")
            if name in {"reset", "open", "close"}:
                action.add_argument("--reason", default="", help="kept in the history")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            answer = getattr(self, f"_{options['action']}")(options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(answer, default=str, indent=2) if options["json"] else _plain(answer))

    def _list(self, _: dict[str, Any]) -> list[dict[str, Any]]:
        return [_summary(row) for row in CircuitBreaker.objects.all()]

    def _show(self, options: dict[str, Any]) -> dict[str, Any]:
        row = CircuitBreaker.objects.filter(name=options["name"]).first()
        if row is None:
            known = ", ".join(CircuitBreaker.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"no circuit breaker is named {options['name']!r}; there are {known}")
        settings = row.settings()
        history = CircuitBreakerEvent.objects.filter(breaker=row)[:HISTORY]
        fields = ("ts", "before", "after", "reason", "actor", "shared")
        return {
            **_summary(row),
            **asdict(settings.config),
            "order_path": row.order_path,
            "description": row.description,
            "history": [{field: getattr(event, field) for field in fields} for event in history],
        }

    def _reset(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["all"] == bool(options["name"]):
            raise CommandError("name one breaker, or say --all")
        if options["all"]:
            return {"reset": services.reset_all(actor=_actor(), reason=options["reason"])}
        services.reset(options["name"], actor=_actor(), reason=options["reason"])
        return {"reset": [options["name"]]}

    def _open(self, options: dict[str, Any]) -> dict[str, Any]:
        changed = services.force_open(options["name"], actor=_actor(), reason=options["reason"])
        return {"name": options["name"], "state": "FORCED_OPEN", "changed": changed}

    def _close(self, options: dict[str, Any]) -> dict[str, Any]:
        changed = services.close(options["name"], actor=_actor(), reason=options["reason"])
        return {"name": options["name"], "state": "CLOSED", "changed": changed}

    def _restore(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"restored": services.restore_shipped()}


def _summary(row: CircuitBreaker) -> dict[str, Any]:
    status = services.status(row)
    return {**asdict(status), "now": status.sentence()}


def _actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def _plain(answer: Any) -> str:
    if isinstance(answer, list):
        return "\n".join(f"{row['name']:<20} {row['state']:<12} {row['now']}" for row in answer)
    lines = []
    for key, value in answer.items():
        if key == "history":
            lines += [f"  {e['ts']:%Y-%m-%d %H:%M:%S} {e['before']} -> {e['after']}: {e['reason']}" for e in value]
        else:
            lines.append(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(lines)
