"""`manage.py modules`: look at the module registry and change what stands in it."""

from __future__ import annotations

import getpass
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from helios.errors import HeliosError
from helios.modules import core, services
from helios.modules.models import Module

TEXTS = {
    "list": "every module, each after those it needs",
    "show": "one module",
    "register": "enter a module, or enter it anew in another version",
    "load": "import a module's code and check it",
    "activate": "let the pipeline use a module, from its next task on",
    "unload": "take a module out of use",
    "restore": "put back shipped modules that are missing",
}
SHOWN = (
    "name",
    "state",
    "version",
    "path",
    "dependencies",
    "hot_reloadable",
    "error",
    "generation",
    "loaded_at",
)


class Command(BaseCommand):
    help = "List, show, register, load, activate and unload modules."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text in TEXTS.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name not in {"list", "restore"}:
                action.add_argument("name")
            if name == "register":
                action.add_argument("path", help="dotted path of the package")
                action.add_argument("version", help="semantic version that the code carries")
                action.add_argument(
                    "--needs",
                    action="append",
                    default=[],
                    metavar="NAME=RANGE",
                    help="features=^1.0.0; repeatable",
                )
                action.add_argument("--fixed", action="store_true", help="not to be swapped while running")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            answer = getattr(self, f"_{options['action']}")(options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(answer, default=str, indent=2) if options["json"] else _plain(answer))

    def _list(self, _: dict[str, Any]) -> list[dict[str, Any]]:
        rows = {row.name: row for row in Module.objects.all()}
        order = core.load_order({name: list(row.dependencies) for name, row in rows.items()})
        return [_shown(rows[name]) for name in order]

    def _show(self, options: dict[str, Any]) -> dict[str, Any]:
        return _shown(services.get(options["name"]))

    def _register(self, options: dict[str, Any]) -> dict[str, Any]:
        dependencies = dict(_pair(text) for text in options["needs"])
        row = services.register(
            options["name"],
            options["path"],
            options["version"],
            dependencies=dependencies,
            hot_reloadable=not options["fixed"],
            actor=_actor(),
        )
        return _shown(row)

    def _load(self, options: dict[str, Any]) -> dict[str, Any]:
        return _shown(services.load(options["name"], actor=_actor()))

    def _activate(self, options: dict[str, Any]) -> dict[str, Any]:
        return _shown(services.activate(options["name"], actor=_actor()))

    def _unload(self, options: dict[str, Any]) -> dict[str, Any]:
        return _shown(services.unload(options["name"], actor=_actor()))

    def _restore(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"restored": services.restore_shipped(actor=_actor())}


def _pair(text: str) -> tuple[str, str]:
    name, found, wanted = text.partition("=")
    if not found or not name or not wanted:
        raise CommandError(f"--needs must read NAME=RANGE, like features=^1.0.0, was {text!r}")
    return name, wanted


def _shown(row: Module) -> dict[str, Any]:
    return {field: getattr(row, field) for field in SHOWN}


def _actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def _plain(answer: Any) -> str:
    if isinstance(answer, list):
        rows = [f"{row['name']:<12} {row['state']:<9} {row['version']:<10} {row['path']}" for row in answer]
        return "\n".join(f"{line}  {row['error']}".rstrip() for line, row in zip(rows, answer, strict=True))
    return "\n".join(f"{key}: {value}" for key, value in answer.items())
