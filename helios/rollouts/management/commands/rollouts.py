"""`manage.py rollouts`: look at deliveries and steer them."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import CommandParser
from django.db import transaction

from helios.control.cli import Options, Row, SubjectCommand, attribution, read_json
from helios.entries import whole
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
ONWARD: Final = {"start", "resume", "promote"}  # they put code in charge of more
MOVES: Final = ONWARD | {"pause", "abort"}


class Command(SubjectCommand):
    help = "List, show and steer rollouts."
    subject = "rollout"
    actions = ACTIONS
    reasons = ACTIONS.keys() - {"list", "show", "history", "analyses"}
    nameless = ("list",)
    name_help = "the rollout, by name or number"

    def arguments(self, name: str, action: CommandParser) -> None:
        """The plan, and how much is shown or promoted."""
        if name in {"history", "analyses"}:
            action.add_argument("--limit", type=int, default=50, help="how many at most")
        if name == "list":
            action.add_argument("--all", action="store_true", help="also those that are over")
        if name == "promote":
            action.add_argument("--full", action="store_true", help="all steps at once, to the champion's place")
        if name == "create":
            _add_plan(action)

    def act(self, options: Options) -> Any:
        """Run the chosen action; a move is the service of its name."""
        action = options["action"]
        if action not in MOVES:
            return super().act(options)
        given = {"full": options["full"]} if action == "promote" else {}
        row = _named(options["name"], only=action in ONWARD)
        return comparison.state(getattr(services, action)(row.pk, **given, **attribution(options)))

    def text(self, action: str, answer: Any) -> str:
        """Tables for people."""
        return printing.printed(action, answer)

    def _list(self, options: Options) -> list[Row]:
        rows = Rollout.objects.all() if options["all"] else Rollout.objects.filter(state__in=sorted(LIVE))
        return [comparison.state(row) for row in rows]

    def _show(self, options: Options) -> Row:
        return comparison.report(_named(options["name"]))

    def _create(self, options: Options) -> Row:
        with transaction.atomic():  # one that cannot be started is not there for the retry either
            row = services.create(
                options["name"],
                kind=options["kind"],
                target=options["target"],
                challenger=options["challenger"],
                params=_json(options, "params"),
                books=[name for text in options["book"] for name in text.split(",")],
                steps=_json(options, "steps"),
                guards=_json(options, "guards"),
                description=options["description"],
                **attribution(options),
            )
            if options["start"]:
                row = services.start(row.pk, **attribution(options))
        return comparison.state(row)

    def _history(self, options: Options) -> list[Row]:
        entries = RolloutEvent.objects.filter(rollout=_named(options["name"]))[: max(options["limit"], 0)]
        told = ("action", "actor", "reason", "before", "after")
        return [{"at": entry.at.isoformat(), **{name: getattr(entry, name) for name in told}} for entry in entries]

    def _analyses(self, options: Options) -> list[Row]:
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


def _named(text: str, *, only: bool = False) -> Rollout:
    number = whole(text)
    return selectors.get(text if number is None else number, only=only)


def _json(options: Options, name: str) -> Any:
    return None if options[name] is None else read_json(options[name], f"--{name}")
