"""`manage.py modules`: look at the module registry and change what stands in it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from helios.errors import HeliosError
from helios.modules import core, presence, printing, selectors, services, testing
from helios.modules.errors import UnknownModule
from helios.modules.models import Module

TEXTS = {
    "list": "every module with the version in use, each after those it needs",
    "show": "one module: what is in use, what was before, why files were not taken",
    "versions": "the registered versions of a module, newest first",
    "register": "read code from disk and keep it as a version of a module; nothing is imported",
    "load": "import a version in a process of its own",
    "activate": "fill an empty slot, from the next task on",
    "unload": "take a version out of use, from the next task on",
    "swap": "put another version in place in every process, after its tests",
    "rollback": "put the version before back, at once",
    "configure": "how a slot is swapped and watched",
    "history": "the swaps of a module, newest first",
    "processes": "the processes that load modules now",
    "test": "run the suites that gate a module on one of its versions",
    "restore": "put back shipped modules that are missing",
}
NAMELESS = frozenset({"list", "restore", "processes"})
VERSIONED = {"load": "?", "activate": "?", "unload": "?", "test": "?", "swap": None}


class Command(BaseCommand):
    help = "List, show, register, load, swap, roll back and test modules."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text in TEXTS.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name not in NAMELESS:
                action.add_argument("name", help="the slot: predict, risk, ...")
            if name in VERSIONED:
                action.add_argument(
                    "version", nargs=VERSIONED[name], default="", help="a label, or the newest of a plain version"
                )
            if name in {"swap", "rollback"}:
                action.add_argument("--reason", default="", help="kept in the history")
            if name in {"swap", "test"}:
                action.add_argument("--suite", action="append", help="instead of the suites that gate it; repeatable")
        _register_arguments(actions.choices["register"])
        _configure_arguments(actions.choices["configure"])

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            answer = getattr(self, f"_{options['action']}")(options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(answer, default=str, indent=2) if options["json"] else _plain(answer))
        if options["action"] == "test" and not answer["passed"]:
            raise CommandError(f"module {answer['module']} {answer['version']} {answer['reason']}")

    def _list(self, _: dict[str, Any]) -> list[dict[str, Any]]:
        rows = {row.name: row for row in Module.objects.select_related("active", "previous")}
        order = core.load_order({name: list(row.dependencies) for name, row in rows.items()})
        return [selectors.slot(rows[name]) for name in order]

    def _show(self, options: dict[str, Any]) -> dict[str, Any]:
        return selectors.slot(services.get(options["name"]))

    def _versions(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return selectors.versions(services.get(options["name"]))

    def _history(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return selectors.history(services.get(options["name"]))

    def _processes(self, _: dict[str, Any]) -> list[dict[str, Any]]:
        return [selectors.process(row) for row in presence.live()]

    def _register(self, options: dict[str, Any]) -> dict[str, Any]:
        if not options["new_slot"]:
            try:
                services.get(options["name"])
            except UnknownModule as error:  # most likely misspelt, and a slot cannot be taken away again
                raise CommandError(f"{error}; --new-slot makes one") from error
        needs = dict(_pair(text) for text in options["needs"]) if options["needs"] else None
        row = services.register(
            options["name"],
            options["path"],
            options["version"],
            dependencies=needs,
            hot_reloadable=False if options["fixed"] else None,
            actor=_actor(),
        )
        return selectors.version(row)

    def _load(self, options: dict[str, Any]) -> dict[str, Any]:
        return selectors.version(services.load(options["name"], options["version"], actor=_actor()))

    def _activate(self, options: dict[str, Any]) -> dict[str, Any]:
        return selectors.version(services.activate(options["name"], options["version"], actor=_actor()))

    def _unload(self, options: dict[str, Any]) -> dict[str, Any]:
        return selectors.version(services.unload(options["name"], options["version"], actor=_actor()))

    def _swap(self, options: dict[str, Any]) -> dict[str, Any]:
        row = services.swap(
            options["name"],
            options["version"],
            actor=_actor(),
            reason=options["reason"],
            suites=options["suite"],
            progress=None if options["json"] else self._tell,
        )
        return selectors.swap(row)

    def _rollback(self, options: dict[str, Any]) -> dict[str, Any]:
        return selectors.swap(services.rollback(options["name"], actor=_actor(), reason=options["reason"]))

    def _configure(self, options: dict[str, Any]) -> dict[str, Any]:
        hot = None if options["hot_reload"] is None else options["hot_reload"] == "on"
        row = services.configure(
            options["name"],
            hot_reloadable=hot,
            watch_calls=options["watch_calls"],
            watch_failures=options["watch_failures"],
            actor=_actor(),
        )
        return selectors.slot(row)

    def _test(self, options: dict[str, Any]) -> dict[str, Any]:
        report = testing.run_suites(options["name"], options["version"], options["suite"], actor=_actor())
        return report.to_json()

    def _restore(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"restored": services.restore_shipped(actor=_actor())}

    def _tell(self, words: str) -> None:
        self.stdout.write(words)
        self.stdout.flush()


def _register_arguments(action: CommandParser) -> None:
    action.add_argument("path", help="dotted path of the package, or of the single file")
    action.add_argument("version", nargs="?", default="", help="the version that the code must state")
    action.add_argument(
        "--needs", action="append", default=[], metavar="NAME=RANGE", help="features=^1.0.0; repeatable"
    )
    action.add_argument("--new-slot", action="store_true", help="make a slot of this name where there is none")
    action.add_argument("--fixed", action="store_true", help="not to be swapped while running")


def _configure_arguments(action: CommandParser) -> None:
    action.add_argument("--hot-reload", choices=["on", "off"], help="may be swapped while the pipeline runs")
    action.add_argument("--watch-calls", type=int, help="real calls that are watched after a switch")
    action.add_argument("--watch-failures", type=int, help="failed watched calls that roll back")


def _pair(text: str) -> tuple[str, str]:
    name, found, wanted = text.partition("=")
    if not found or not name or not wanted:
        raise CommandError(f"--needs must read NAME=RANGE, like features=^1.0.0, was {text!r}")
    return name, wanted


def _actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def _plain(answer: Any) -> str:
    if isinstance(answer, list):
        return "\n".join(_columns(answer)) or "none"
    if "results" in answer:
        return printing.text(testing.TestReport.from_json(answer))
    shown = {key: value for key, value in answer.items() if not isinstance(value, list | tuple)}
    return "\n".join(f"{key}: {_value(value)}" for key, value in shown.items())


COLUMNS = {
    "label": ("name", "state", "label", "path", "error"),
    "to": ("id", "kind", "state", "from", "to", "actor", "started_at", "error"),
    "pid": ("component", "host", "pid", "generation", "seen_at"),
}


def _columns(rows: list[dict[str, Any]]) -> Iterable[str]:
    wanted = next((names for key, names in COLUMNS.items() if rows and key in rows[0]), ())
    lines = [[_value(row[name]) for name in wanted] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)
