"""`manage.py rollouts`: look at deliveries and steer them."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError, transaction

from helios.errors import HeliosError
from helios.rollouts import comparison, printing, selectors, services
from helios.rollouts.core.assignment import Kind
from helios.rollouts.core.machine import LIVE
from helios.rollouts.models import Rollout, RolloutEvent

ACTIONS: Final = {
    "list": "the live rollouts; with --all those that are over too",
    "show": "one rollout: how far it is, and both arms beside each other",
    "create": "plan a rollout; nothing is served before it is started",
    "start": "begin with the first step",
    "pause": "stay at this step; hard guards go on watching",
    "resume": "go on with the step that was paused",
    "promote": "take the next step without waiting for an analysis",
    "abort": "end it: the champion serves everything again",
    "history": "what was done with a rollout, newest first",
    "analyses": "every reading with its verdict, newest first",
}
READS: Final = {"list", "show", "history", "analyses"}


class Command(BaseCommand):
    help = "List, show and steer rollouts."

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command an action; all print JSON on request, those that change something take a reason."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text in ACTIONS.items():
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name != "list":
                action.add_argument("name", help="the rollout, by name or number")
            if name not in READS:
                action.add_argument("--reason", default="", help="why; kept in the history")
            if name in {"history", "analyses"}:
                action.add_argument("--limit", type=int, default=50, help="how many at most")
            if name == "list":
                action.add_argument("--all", action="store_true", help="also those that are over")
            if name == "promote":
                action.add_argument("--full", action="store_true", help="all steps at once, to the champion's place")
            if name == "create":
                _add_plan(action)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one action; a mistake of the person ends in one sentence and exit status 1."""
        act: Callable[[dict[str, Any]], Any] = getattr(self, f"_{options['action']}")
        try:
            answer = act(options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        except ProgrammingError as error:
            raise CommandError("the rollout tables must exist, do not: run `manage.py migrate` first") from error
        except OperationalError as error:
            raise CommandError(f"the database must answer, did not: {str(error).splitlines()[0]}") from error
        if options["json"]:
            self.stdout.write(json.dumps(answer, default=str, indent=2))
        else:
            self.stdout.write(printing.printed(options["action"], answer))

    def _list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = Rollout.objects.all() if options["all"] else Rollout.objects.filter(state__in=sorted(LIVE))
        return [comparison.state(row) for row in rows]

    def _show(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.report(_named(options["name"]))

    def _create(self, options: dict[str, Any]) -> dict[str, Any]:
        with transaction.atomic():  # one that cannot be started is not there for the retry either
            row = services.create(
                options["name"],
                kind=options["kind"],
                target=options["target"],
                challenger=options["challenger"],
                params=_json(options["params"]),
                books=[name for text in options["book"] for name in text.split(",")],
                steps=_json(options["steps"]),
                guards=_json(options["guards"]),
                description=options["description"],
                **_by(options),
            )
            if options["start"]:
                row = services.start(row.pk, **_by(options))
        return comparison.state(row)

    def _start(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.state(services.start(_named(options["name"]).pk, **_by(options)))

    def _pause(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.state(services.pause(_named(options["name"]).pk, **_by(options)))

    def _resume(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.state(services.resume(_named(options["name"]).pk, **_by(options)))

    def _promote(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.state(services.promote(_named(options["name"]).pk, full=options["full"], **_by(options)))

    def _abort(self, options: dict[str, Any]) -> dict[str, Any]:
        return comparison.state(services.abort(_named(options["name"]).pk, **_by(options)))

    def _history(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        entries = RolloutEvent.objects.filter(rollout=_named(options["name"]))[: max(options["limit"], 0)]
        return [
            {
                "at": entry.at.isoformat(),
                "action": entry.action,
                "actor": entry.actor,
                "reason": entry.reason,
                "before": entry.before,
                "after": entry.after,
            }
            for entry in entries
        ]

    def _analyses(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = _named(options["name"]).analyses.all()[: max(options["limit"], 0)]
        return [comparison.analysis(row) for row in rows]


def _add_plan(action: CommandParser) -> None:
    action.add_argument("--target", required=True, help="the slot of a module, or the book of a strategy")
    action.add_argument("--challenger", required=True, help="a registered version, or a strategy's name")
    action.add_argument("--kind", default=Kind.MODULE.value, choices=[each.value for each in Kind])
    action.add_argument("--params", help="parameters of a strategy, as JSON")
    action.add_argument("--book", action="append", default=[], help="only this book; may be repeated")
    action.add_argument("--steps", help="the plan as JSON, or @FILE; default: replay, shadow, 1, 5, 25, 50, 100 %%")
    action.add_argument("--guards", help="the guards as JSON, or @FILE")
    action.add_argument("--description", default="")
    action.add_argument("--start", action="store_true", help="start it at once")


def _named(text: str) -> Rollout:
    return selectors.get(int(text) if text.isdecimal() else text)


def _json(text: str | None) -> Any:
    """What an argument holds, or the file that it names with a leading @."""
    if text is None:
        return None
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise CommandError(f"an argument must be JSON, or @FILE with JSON in it, was not: {error}") from error


def _by(options: dict[str, Any]) -> dict[str, Any]:
    return {"actor": _actor(), "reason": options["reason"]}


def _actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
