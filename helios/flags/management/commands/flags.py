"""`manage.py flags`: look at the feature flags and change them."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from helios.errors import HeliosError
from helios.flags import catalog, selectors, services
from helios.flags.models import FeatureFlag, FeatureFlagHistory

Row = dict[str, Any]
ACTIONS: Final = {
    "list": "every flag",
    "show": "one flag, what it does and its last changes",
    "enable": "switch a flag on; a killed one gets its strategy back",
    "disable": "switch a flag off",
    "set-percentage": "serve a share of the symbols, 0 to 100",
    "whitelist": "add to or remove from the whitelist",
    "kill": "switch a flag off for everybody until it is enabled again",
    "history": "the changes of one flag, or of all, newest first",
    "restore": "put back shipped flags that are missing",
}
READS: Final = {"list", "show", "history"}
LAST_CHANGES: Final = 10


class Command(BaseCommand):
    help = "List, show and change feature flags."

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command an action; all print JSON on request, those that change something take a reason."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text in ACTIONS.items():
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name not in READS:
                action.add_argument("--reason", default="", help="why; kept in the history")
            if name not in {"list", "restore"}:
                action.add_argument("name", nargs="?" if name == "history" else None, help="the flag")
            if name == "set-percentage":
                action.add_argument("percentage", type=_percentage)
            if name == "whitelist":
                action.add_argument("change", choices=["add", "remove"])
                action.add_argument("entries", nargs="+", metavar="ENTRY", help="a symbol, user, strategy or system")
            if name == "history":
                action.add_argument("--limit", type=int, default=50, help="how many changes at most")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one action; a mistake of the person ends in one sentence and exit status 1."""
        act: Callable[[dict[str, Any]], Any] = getattr(self, f"_{options['action'].replace('-', '_')}")
        try:
            answer = act(options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        except ProgrammingError as error:
            raise CommandError("the flag tables must exist, do not: run `manage.py migrate` first") from error
        except OperationalError as error:
            raise CommandError(f"the database must answer, did not: {str(error).splitlines()[0]}") from error
        self.stdout.write(json.dumps(answer, default=str, indent=2) if options["json"] else _plain(answer))

    def _list(self, _: dict[str, Any]) -> list[Row]:
        return [_row(flag) for flag in FeatureFlag.objects.order_by("name")]

    def _show(self, options: dict[str, Any]) -> Row:
        flag = selectors.get(options["name"])
        return {**_row(flag), "history": _history(flag.name, LAST_CHANGES)}

    def _enable(self, options: dict[str, Any]) -> Row:
        return _told(services.enable(options["name"], **_by(options)))

    def _disable(self, options: dict[str, Any]) -> Row:
        return _told(services.disable(options["name"], **_by(options)))

    def _kill(self, options: dict[str, Any]) -> Row:
        return _told(services.kill(options["name"], **_by(options)))

    def _set_percentage(self, options: dict[str, Any]) -> Row:
        return _told(services.set_percentage(options["name"], options["percentage"], **_by(options)))

    def _whitelist(self, options: dict[str, Any]) -> Row:
        change = services.whitelist_add if options["change"] == "add" else services.whitelist_remove
        return _told(change(options["name"], options["entries"], **_by(options)))

    def _history(self, options: dict[str, Any]) -> list[Row]:
        rows = _history(options["name"], max(options["limit"], 0))
        if options["name"] and not rows:
            selectors.get(options["name"])  # a flag that went keeps its history; a misspelt one never had any
        return rows

    def _restore(self, options: dict[str, Any]) -> list[Row]:
        reason = options["reason"] or "put back"
        return [_told(change) for change in services.install_missing(actor=_actor(), reason=reason)]


def _percentage(text: str) -> int | str:
    """The number, or what was typed: the service says what is wrong with it."""
    return int(text) if text.lstrip("-").isdigit() else text


def _by(options: dict[str, Any]) -> dict[str, Any]:
    return {"actor": _actor(), "reason": options["reason"]}


def _actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _row(flag: FeatureFlag) -> Row:
    shipped = catalog.BY_NAME.get(flag.name)
    return {
        **selectors.state(flag),
        "generation": flag.generation,
        "wired": shipped.wired if shipped else None,
        "effect": selectors.effect(flag),
    }


def _told(change: services.Change) -> Row:
    flag = selectors.get(change.name)
    return {**_row(flag), "action": change.action, "changed": change.changed}


def _history(name: str | None, limit: int) -> list[Row]:
    rows = FeatureFlagHistory.objects.all()
    if name:
        rows = rows.filter(flag_id=name)  # type: ignore[misc]  # the key is the flag's name
    return [
        {
            "ts": row.ts.isoformat(),
            "name": row.flag_id,
            "action": row.action,
            "actor": row.actor,
            "reason": row.reason,
            "generation": row.generation,
            "before": row.before,
            "after": row.after,
            "change": selectors.difference(row),
        }
        for row in rows[:limit]
    ]


def _plain(answer: list[Row] | Row) -> str:
    if isinstance(answer, dict):
        return _plain_flag(answer)
    return "\n".join(_plain_line(row) for row in answer) or "none"


def _plain_line(row: Row) -> str:
    if "actor" in row:
        return _plain_change(row)
    wired = {True: "", False: "  (not wired yet)", None: ""}[row["wired"]]
    return f"{row['name']:<26} {'on' if row['enabled'] else 'off':<4} {row['effect']}{wired}"


def _plain_change(row: Row) -> str:
    why = f" ({row['reason']})" if row["reason"] else ""
    return f"{row['ts'][:19]}Z {row['name']:<26} {row['action']} by {row['actor']}{why} {row['change']}".rstrip()


def _plain_flag(row: Row) -> str:
    lines = [f"{row['name']}: {row['effect']}"]
    if row.get("changed") is False:
        lines[0] += " (as it already was)"
    if row["wired"] is False:
        lines.append(f"  {catalog.BY_NAME[row['name']].wiring}")
    if "action" in row:
        return "\n".join(lines)
    hidden = {"name", "effect", "history", "wired"}
    lines += [f"  {key}: {selectors.short(value)}" for key, value in row.items() if key not in hidden]
    return "\n".join(lines + [f"  {_plain_change(change)}" for change in row["history"]])
