"""The two actions of `manage.py flags` that speak Unleash's language, with their options and their lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandParser

from helios.control.cli import Options, Row, attribution, read_file
from helios.flags.unleash import importing
from helios.flags.unleash.conformance_report import conformance

ACTIONS: Final = {
    "import": "take over the flags of an Unleash state file: all of it, or nothing",
    "conformance": "evaluate files of Unleash's client specification; exit 1 when a test fails",
}


def _import(options: Options) -> list[Row]:
    named = {**attribution(options), "reason": options["reason"] or f"imported from {Path(options['file']).name}"}
    choices = {key: options[key] for key in ("overwrite", "dry_run", "strict")}
    return [
        {**asdict(each), "dry_run": options["dry_run"]}
        for each in importing.import_state(read_file(options["file"]), **choices, **named)
    ]


def _conformance(options: Options) -> Row:
    out = io.StringIO()
    code = conformance(options["files"], out)
    return {"exit": code, "lines": out.getvalue().splitlines()}


def _of_import(action: CommandParser) -> None:
    action.add_argument("file", help="{features, segments}, or a file of the specification with such a state in it")
    action.add_argument("--overwrite", action="store_true", help="replace flags that ship with Helios as well")
    action.add_argument("--dry-run", action="store_true", help="tell what would happen, and change nothing")
    action.add_argument("--strict", action="store_true", help="refuse what could never hold, instead of a warning")


def _of_conformance(action: CommandParser) -> None:
    action.add_argument("files", nargs="+", metavar="FILE")


def _imported(row: Row) -> str:
    note = "  ships with Helios; --overwrite replaces it" if row["outcome"] == "kept" else ""
    would = "would be " if row["dry_run"] and row["outcome"] in {"created", "updated"} else ""
    line = f"{row['kind']:<8} {row['name']:<40} {would}{row['outcome']}{note}"
    return "\n".join([line, *(f"  warning: {row['name']}: {each}" for each in row["notes"])])


RUN: Final[Mapping[str, Callable[[Options], Any]]] = {"import": _import, "conformance": _conformance}
ARGUMENTS: Final = {"import": _of_import, "conformance": _of_conformance}
TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    "import": lambda rows: "\n".join(map(_imported, rows)) or "none",
    "conformance": lambda row: "\n".join(row["lines"]),
}
