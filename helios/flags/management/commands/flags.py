"""`manage.py flags`: look at the feature flags and change them."""

from __future__ import annotations

import sys
from typing import Any, Final

from django.core.management.base import CommandParser

from helios.control.cli import Options, SubjectCommand
from helios.entries import whole
from helios.flags import cli, printing
from helios.flags.stale import DEFAULT_DAYS
from helios.flags.unleash import cli as unleash

ACTIONS: Final = {
    "list": "every flag",
    "show": "one flag, what it does and its last changes",
    "check": "ask a flag for a context, with the reason for the answer",
    "variant": "the variant that a context gets",
    "enable": "switch a flag on; a killed one gets its strategy back",
    "disable": "switch a flag off",
    "kill": "switch a flag off for everybody until it is enabled again",
    "set-percentage": "serve a share of the symbols, 0 to 100",
    "schedule": "let the percentage follow steps, such as 2027-01-01T00:00Z=5; none ends the schedule",
    "ramp": "let the percentage grow evenly between two moments",
    "whitelist": "add to or remove from the whitelist",
    "history": "the changes of one flag, or of all, newest first",
    "restore": "put a flag back as a change left it; without a name, shipped flags that are missing",
    "archive": "take a flag away; its history stays, and restore brings it back",
    "segments": "every segment, or one: show it, set its constraints, remove it",
    "stale": "flags that are expired, constant, killed or unchanged for long, with owner and action",
    **unleash.ACTIONS,
}
LOCKED: Final = {"enable", "disable", "kill", "set-percentage", "schedule", "ramp", "whitelist", "restore", "archive"}
CONTEXT: Final = ("symbol", "user", "strategy", "system", "environment")


class Command(SubjectCommand):
    help = "List, show and change feature flags."
    subject = "flag"
    actions = ACTIONS
    reasons = ACTIONS.keys() - {"list", "show", "check", "variant", "history", "stale", "conformance"}
    nameless = ("list", "stale", "import", "conformance")
    optional = ("history", "restore", "segments")
    name_help = "its name"

    def arguments(self, name: str, action: CommandParser) -> None:
        """Who changes it, at which version, and what the action itself takes."""
        if name in self.reasons:
            action.add_argument("--actor", default="", help="who; the person at the terminal unless given")
        if name in LOCKED:
            action.add_argument("--if-version", type=int, metavar="N", help="only if it still is at this version")
        _ARGUMENTS.get(name, lambda _: None)(action)

    def act(self, options: Options) -> Any:
        """Run the chosen action."""
        return {**cli.RUN, **unleash.RUN}[options["action"]](options)

    def text(self, action: str, answer: Any) -> str:
        """Lines for people."""
        return unleash.TEXTS[action](answer) if action in unleash.TEXTS else printing.plain(action, answer)

    def finish(self, action: str, answer: Any) -> None:
        """A file of which a test fails is an error."""
        if action == "conformance" and answer["exit"]:
            sys.exit(answer["exit"])


def _percentage(text: str) -> int | str:
    """The number, or what was typed: the service says what is wrong with it."""
    number = whole(text)
    return text if number is None else number


def _of_set_percentage(action: CommandParser) -> None:
    action.add_argument("percentage", type=_percentage)


def _of_whitelist(action: CommandParser) -> None:
    action.add_argument("change", choices=["add", "remove"])
    action.add_argument("entries", nargs="+", metavar="ENTRY", help="a symbol, user, strategy or system")


def _of_history(action: CommandParser) -> None:
    action.add_argument("--limit", type=int, default=50, help="how many changes at most")


def _of_context(action: CommandParser) -> None:
    for name in CONTEXT:
        action.add_argument(f"--{name}", default="", help=f"the {name} of the context")
    action.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE", help="any other value")
    action.add_argument("--at", default="", metavar="TIME", help="at this moment instead of now, ISO 8601 with a zone")


def _of_schedule(action: CommandParser) -> None:
    action.add_argument("steps", nargs="*", metavar="TIME=PERCENTAGE", help="times in ISO 8601 with a zone, ascending")


def _of_ramp(action: CommandParser) -> None:
    action.add_argument("--start", required=True, metavar="TIME", help="ISO 8601 with a zone")
    action.add_argument("--end", required=True, metavar="TIME")
    action.add_argument("--from", type=_percentage, default=0, dest="from_percentage", metavar="PERCENTAGE")
    action.add_argument("--to", type=_percentage, default=100, dest="to_percentage", metavar="PERCENTAGE")


def _of_restore(action: CommandParser) -> None:
    action.add_argument("--entry", type=int, default=None, help="the number of the change, as history shows it")


def _of_segments(action: CommandParser) -> None:
    action.add_argument("--constraints", default=None, metavar="JSON", help="a list in Unleash's form; @FILE reads it")
    action.add_argument("--description", default=None)
    action.add_argument("--remove", action="store_true", help="refused while a flag uses it")


def _of_stale(action: CommandParser) -> None:
    action.add_argument("--days", type=int, default=DEFAULT_DAYS, help=f"how long is long; {DEFAULT_DAYS} unless given")


_ARGUMENTS: Final = {
    "set-percentage": _of_set_percentage,
    "whitelist": _of_whitelist,
    "history": _of_history,
    "check": _of_context,
    "variant": _of_context,
    "schedule": _of_schedule,
    "ramp": _of_ramp,
    "restore": _of_restore,
    "segments": _of_segments,
    "stale": _of_stale,
    **unleash.ARGUMENTS,
}
