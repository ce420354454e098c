"""`manage.py breakers`: look at the circuit breakers and set them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from helios.breakers import selectors, services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.control.cli import Options, Row, SubjectCommand, attribution

ACTIONS: Final = {
    "list": "every breaker, its state and its rates",
    "show": "one breaker, its settings and its last transitions",
    "open": "refuse every call until a person closes it",
    "close": "let calls pass again",
    "reset": "close it and forget past failures",
    "reset-all": "reset every breaker",
    "metrics-only": "never refuse a call, note what it would have done",
    "normal": "act again, from the state that was measured",
    "create": "add a breaker",
    "configure": "change its settings",
    "delete": "take away a breaker that no code uses any more",
    "history": "what happened to a breaker, newest first",
    "restore": "put back shipped breakers that are missing",
}
SETS: Final = {
    "open": services.force_open,
    "close": services.close,
    "metrics-only": services.metrics_only,
    "normal": services.normal,
}
LAST_EVENTS: Final = 10


class Command(SubjectCommand):
    help = "List, show, reset, open, close, create and configure circuit breakers."
    subject = "breaker"
    actions = ACTIONS
    reasons = ACTIONS.keys() - {"list", "show", "history", "restore"}
    nameless = ("list", "reset-all", "restore")
    optional = ("reset",)
    name_help = "the breaker"

    def arguments(self, name: str, action: CommandParser) -> None:
        """Settings, and the version that a person saw."""
        if name == "reset":
            action.add_argument("--all", action="store_true", help="reset every breaker")
        if name in {"create", "configure"}:
            nargs = "*" if name == "create" else "+"
            action.add_argument("assignments", nargs=nargs, metavar="SETTING=VALUE", help="such as open_s=30")
        if name in {"configure", "delete"}:
            action.add_argument("--version", dest="seen", type=int, help="refuse if it has another version by now")
        if name == "history":
            action.add_argument("--limit", type=int, default=50, help="how many lines at most")

    def act(self, options: Options) -> Any:
        """Run the chosen action."""
        return self._set(options) if options["action"] in SETS else super().act(options)

    def text(self, _action: str, answer: Any) -> str:
        """Lines for people."""
        return _plain(answer)

    def _list(self, _: Row) -> list[Row]:
        return [_summary(row) for row in CircuitBreaker.objects.order_by("name")]

    def _show(self, options: Row) -> Row:
        row = selectors.find(options["name"])
        history = [_event(event) for event in CircuitBreakerEvent.objects.filter(breaker=row)[:LAST_EVENTS]]
        return {**_summary(row), "settings": _settings(row), "history": history}

    def _reset(self, options: Row) -> Row:
        if options["all"] == bool(options["name"]):
            raise CommandError("name one breaker, or say --all")
        if options["all"]:
            return self._reset_all(options)
        services.reset(options["name"], **attribution(options))
        return {"reset": [options["name"]]}

    def _reset_all(self, options: Row) -> Row:
        return {"reset": services.reset_all(**attribution(options))}

    def _create(self, options: Row) -> Row:
        row = services.create(options["name"], _assignments(options["assignments"]), **attribution(options))
        return {**_summary(row), "settings": _settings(row)}

    def _configure(self, options: Row) -> Row:
        changes = _assignments(options["assignments"])
        row = services.configure(options["name"], changes, version=options["seen"], **attribution(options))
        return {**_summary(row), "settings": _settings(row)}

    def _delete(self, options: Row) -> Row:
        services.delete(options["name"], version=options["seen"], **attribution(options))
        return {"deleted": options["name"]}

    def _history(self, options: Row) -> Row:
        events = selectors.history(options["name"], max(0, options["limit"]))
        return {"name": options["name"], "history": [_event(event) for event in events]}

    def _restore(self, _: Row) -> Row:
        return {"restored": services.restore_shipped()}

    def _set(self, options: Options) -> Row:
        changed = SETS[options["action"]](options["name"], **attribution(options))
        row = selectors.find(options["name"])
        return {"name": row.name, "state": selectors.status(row).state, "changed": changed, "version": row.version}


def _summary(row: CircuitBreaker) -> Row:
    status = selectors.status(row)
    return {**asdict(status), "now": status.sentence()}


def _settings(row: CircuitBreaker) -> Row:
    return {**asdict(row.settings().config), "order_path": row.order_path, "description": row.description}


def _event(event: CircuitBreakerEvent) -> Row:
    fields = ("ts", "before", "after", "action", "reason", "actor", "shared", "enforced", "changes")
    return {field: getattr(event, field) for field in fields}


def _assignments(settings: list[str]) -> dict[str, str]:
    wrong = [text for text in settings if "=" not in text]
    if wrong:
        raise CommandError(f"settings are given as SETTING=VALUE, was {', '.join(wrong)}")
    return dict(text.split("=", 1) for text in settings)


def _plain(answer: Any) -> str:
    if isinstance(answer, list):
        return "\n".join(f"{row['name']:<20} {row['state']:<12} {row['now']}" for row in answer)
    lines = []
    for key, value in answer.items():
        if key == "history":
            lines += [_line(event) for event in value]
        elif key == "settings":
            lines += [f"  {name}={setting}" for name, setting in value.items()]
        else:
            lines.append(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(lines)


def _line(event: Row) -> str:
    who = "" if event["actor"] == "system" else f" ({event['actor']})"
    seen = "" if event["enforced"] else ", not enforced"
    changes = "".join(f"; {name}: {before} -> {after}" for name, (before, after) in event["changes"].items())
    moved = f"{event['before']} -> {event['after']}" if event["before"] != event["after"] else event["action"]
    return f"  {event['ts']:%Y-%m-%d %H:%M:%S} {moved}: {event['reason']}{changes}{who}{seen}"
