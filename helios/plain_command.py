"""The base of our commands: what one refuses may name what strangers stored, and a terminal obeys nothing of it."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError

from helios import entries
from helios.errors import UNREAD, DataError, HeliosError
from helios.terminal import shown


class PlainCommand(BaseCommand):
    """A command whose mistakes are sentences without control characters."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's; what Helios refuses is a mistake of whoever asked."""
        try:
            return super().execute(*args, **options)
        except SystemCheckError:
            raise  # ours, in colours
        except (CommandError, HeliosError) as error:
            raise CommandError(shown(str(error))) from error


def actor() -> str:
    """Who is at the terminal; a container may run under a number that has no name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def json_object(option: str, text: str) -> dict[str, Any]:
    """What an option tells as a JSON object. Raises: DataError."""
    try:
        given = json.loads(text)
    except UNREAD:
        given = None
    if not isinstance(given, dict):
        raise DataError(f'{option} must be a JSON object such as {{"name": 10}}, was {text!r}')
    return given


def add_reason(parser: CommandParser) -> None:
    """The option that says why, held to the rule of the API."""
    parser.add_argument("--reason", type=_reason, default="", help="why; kept in the history")


def _reason(text: str) -> str:
    try:
        return entries.reason(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
