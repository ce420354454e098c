"""`manage.py modules`: look at the module registry and change what stands in it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from helios.control.cli import Options, Row, SubjectCommand
from helios.modules import jobs, presence, printing, selectors, services
from helios.modules.core.dependencies import load_order
from helios.modules.errors import UnknownModule
from helios.modules.gate import runs
from helios.modules.models import Module
from helios.modules.rows import find
from helios.plain_command import actor
from helios.redaction import printable

TEXTS = {
    "list": "every module with the version in use, each after those it needs",
    "show": "one module: what is in use, what was before, why files were not taken",
    "versions": "the registered versions of a module, newest first",
    "register": "read code from disk and keep it as a version of a module; nothing is imported",
    "load": "run a version's gates in a process of its own; it is LOADED when it passes",
    "activate": "fill an empty slot, after its tests, from the next task on",
    "unload": "take a version out of use, from the next task on",
    "swap": "put another version in place in every process, after its tests",
    "rollback": "put the version before back, at once",
    "configure": "how a slot is swapped and watched",
    "history": "the swaps of a module, newest first",
    "processes": "the processes that load modules now",
    "test": "run the suites that gate a module on one of its versions",
    "jobs": "what waits or runs of what was asked for over HTTP and in the admin",
    "cancel": "take back a test or a load that waits, by the number of its job",
    "restore": "put back shipped modules that are missing",
}
VERSIONED = {"load": "?", "activate": "?", "unload": "?", "test": "?", "swap": None}


class Command(SubjectCommand):
    help = "List, show, register, load, swap, roll back and test modules."
    subject = "module"
    actions = TEXTS
    reasons = ("swap", "rollback", "cancel")
    nameless = ("list", "restore", "processes", "jobs", "cancel")
    name_help = "the slot: predict, risk, ..."
    passages = ("output",)

    def arguments(self, name: str, action: CommandParser) -> None:
        """Versions, suites, and how a slot is filled and watched."""
        if name in VERSIONED:
            action.add_argument(
                "version",
                nargs=VERSIONED[name],
                default="",
                help="a label, 12 digits of its hash or more, or a plain version that is there once",
            )
        if name in {"swap", "test"}:
            of_gates = "besides" if name == "swap" else "instead of"
            action.add_argument("--suite", action="append", help=f"{of_gates} the suites that gate it; repeatable")
        if name == "cancel":
            action.add_argument("job", type=int)
        if name == "rollback":
            action.add_argument("--from", dest="used", default="", help="the label that is to leave the slot")
        if name == "register":
            _register_arguments(action)
        if name == "configure":
            _configure_arguments(action)

    def text(self, action: str, answer: Any) -> str:
        """Columns, or one thing line by line; behind a registration, what comes next."""
        after = "\nNext: modules swap {name} {label}, its tests first; activate where the slot is empty."
        return printing.plain(answer) + (after.format_map(answer) if action == "register" else "")

    def finish(self, action: str, answer: Any) -> None:
        """A version that did not pass its tests is an error."""
        if action == "test" and not answer["passed"]:
            raise CommandError(f"module {answer['module']} {answer['version']} {answer['reason']}")

    def _list(self, _: Options) -> list[Row]:
        rows = {row.name: row for row in Module.objects.select_related("active", "previous")}
        order = load_order({name: list(row.dependencies) for name, row in rows.items()})
        return [selectors.slot(rows[name]) for name in order]

    def _show(self, options: Options) -> Row:
        return selectors.slot(find(options["name"]))

    def _versions(self, options: Options) -> list[Row]:
        return selectors.versions(find(options["name"]))

    def _history(self, options: Options) -> list[Row]:
        return selectors.history(find(options["name"]))

    def _processes(self, _: Options) -> list[Row]:
        return [selectors.process(row) for row in presence.live()]

    def _register(self, options: Options) -> Row:
        needs = dict(_pair(text) for text in options["needs"]) if options["needs"] else None
        try:
            row = services.register(
                options["name"],
                options["path"],
                options["version"],
                dependencies=needs,
                hot_reloadable=False if options["fixed"] else None,
                new_slot=options["new_slot"],
                actor=actor(),
            )
        except UnknownModule as error:
            raise CommandError(f"{error}; --new-slot makes one") from error
        return selectors.version(row)

    def _load(self, options: Options) -> Row:
        return selectors.version(services.load(options["name"], options["version"], actor=actor()))

    def _activate(self, options: Options) -> Row:
        return selectors.version(services.activate(options["name"], options["version"], actor=actor()))

    def _unload(self, options: Options) -> Row:
        return selectors.version(services.unload(options["name"], options["version"], actor=actor()))

    def _swap(self, options: Options) -> Row:
        row = services.swap(
            options["name"],
            options["version"],
            actor=actor(),
            reason=options["reason"],
            suites=options["suite"] or (),
            progress=None if options["json"] else self._tell,
        )
        return selectors.swap(row)

    def _rollback(self, options: Options) -> Row:
        name, used = options["name"], options["used"]
        return selectors.swap(services.rollback(name, used, actor=actor(), reason=options["reason"]))

    def _configure(self, options: Options) -> Row:
        hot = None if options["hot_reload"] is None else options["hot_reload"] == "on"
        row = services.configure(
            options["name"],
            hot_reloadable=hot,
            watch_calls=options["watch_calls"],
            watch_failures=options["watch_failures"],
            actor=actor(),
        )
        return selectors.slot(row)

    def _test(self, options: Options) -> Row:
        report = runs.run_suites(options["name"], options["version"], options["suite"], actor=actor())
        return report.to_json()

    def _jobs(self, _: Options) -> list[Row]:
        return [selectors.job(row) for row in jobs.open_jobs()]

    def _cancel(self, options: Options) -> Row:
        return selectors.job(jobs.cancel(options["job"], actor=actor(), reason=options["reason"]))

    def _restore(self, _: Options) -> Row:
        return {"restored": services.restore_shipped(actor=actor())}

    def _tell(self, line: str) -> None:
        self.stdout.write(printable(line))
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
