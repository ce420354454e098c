"""The skeleton of the four commands: one sub-command an action, JSON on request, one sentence for a mistake."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from helios.control.bounds import FILE_BYTES
from helios.plain_command import PlainCommand, actor, add_reason
from helios.redaction import printable
from helios.terminal import shown

Row = dict[str, Any]
Options = Mapping[str, Any]


class SubjectCommand(PlainCommand, ABC):
    """What a subject's command adds: its actions, a method `_<action>` for each, their arguments and their text."""

    subject: ClassVar[str]  # flag, breaker, ...: as a sentence speaks of it
    actions: ClassVar[Mapping[str, str]]  # what each does
    reasons: ClassVar[Collection[str]]  # those that take one
    nameless: ClassVar[Collection[str]]
    optional: ClassVar[Collection[str]] = ()  # those whose name may be missing
    name_help: ClassVar[str]
    passages: ClassVar[Collection[str]] = ()  # fields of several lines; any other is shown in one

    def arguments(self, name: str, action: CommandParser) -> None:
        """Add what only this action takes."""

    @abstractmethod
    def text(self, action: str, answer: Any) -> str:
        """The answer of an action for people."""

    def act(self, options: Options) -> Any:
        """Run the chosen action; plain data."""
        return getattr(self, f"_{options['action'].replace('-', '_')}")(options)

    def finish(self, action: str, answer: Any) -> None:
        """After the answer was printed: an action may end with another exit status."""

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command an action."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text in self.actions.items():
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("--json", action="store_true", help="print JSON")
            if name not in self.nameless:
                action.add_argument("name", nargs="?" if name in self.optional else None, help=self.name_help)
            if name in self.reasons:
                add_reason(action)
            self.arguments(name, action)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one action and print its answer."""
        answer = self.act(options)
        if options["json"]:
            self.stdout.write(json.dumps(answer, default=str, indent=2))
        else:
            self.stdout.write(shown(self.text(options["action"], self._in_lines(answer))))
        self.finish(options["action"], answer)

    def _in_lines(self, value: Any, field: str = "") -> Any:
        """The answer with every text in one line: none can look like a row of its own."""
        if isinstance(value, dict):
            return {name: self._in_lines(each, name) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._in_lines(each, field) for each in value]
        if isinstance(value, str):
            return (shown if field in self.passages else printable)(value)
        return value


def attribution(options: Options) -> Row:
    """Who makes a change, and why."""
    return {"actor": options.get("actor") or actor(), "reason": options["reason"]}


def read_json(text: str, what: str) -> Any:
    """What an argument holds, or the file that it names with a leading @; `CommandError` for anything else."""
    try:
        return read_file(text[1:]) if text.startswith("@") else json.loads(text)
    except (CommandError, ValueError, RecursionError) as error:
        raise CommandError(f"{what} must be JSON, or @FILE with JSON in it, was not: {error}") from error


def read_file(path: str) -> Any:
    """What a JSON file holds; `CommandError` where it cannot be read, or holds something else."""
    try:
        return json_in(Path(path))
    except ValueError as error:
        raise CommandError(f"{path} {error}") from error


def json_in(path: Path) -> Any:
    """What a JSON file holds. ValueError: `must be ..., was not`."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"must be a file that can be read, was not: {error.strerror}") from error
    if len(content) > FILE_BYTES:
        raise ValueError(f"must be a file of {FILE_BYTES >> 20} MiB at most, was larger")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be a JSON file, was not: {error}") from error
