"""`manage.py roles`: who may do what, over the API, in the admin and at the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from django.urls import URLPattern, URLResolver, get_resolver

from helios.plain_command import PlainCommand
from helios.web.admin_base import RoledAdmin
from helios.web.roles import Rule, policy

COLUMNS: Final = ("method", "address", "role", "a trader instead", "in the admin", "at the terminal")
# Actions of a command whose word is not that of the address.
SAME: Final = {
    "list": "GET {}-list",
    "show": "GET {}-detail",
    "create": "POST {}-list",
    "configure": "PATCH {}-detail",
    "delete": "DELETE {}-detail",
    "archive": "DELETE {}-detail",
    "set-percentage": "POST {}-percentage",
    **{word: f"GET {{}}-{word}" for word in ("check", "history", "stale", "analyses")},
}
_PARAMETER: Final = re.compile(r"<\w+:(\w+)>")


class Command(PlainCommand):
    help = "Show which role each address asks for, with the button and the command that do the same."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        rows = list(table())
        if options["json"]:
            self.stdout.write(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows]))
        elif self.stdout.isatty():
            for row in rows:
                self.stdout.write(sentence(*row))
        else:
            self.stdout.write(markdown(rows))


def table() -> Iterator[tuple[str, ...]]:
    """A row for each method of each address, in the order of `COLUMNS`."""
    buttons, commands = dict(_buttons()), dict(_commands())
    for route, address in addresses(get_resolver()):
        for method, rule in policy().get(route, {}).items():
            done = f"{method} {route}"
            yield method, address, _role(rule), rule.raised, buttons.get(done, ""), commands.get(done, "")


def addresses(found: Any, prefix: str = "/") -> Iterator[tuple[str, str]]:
    """Name and address of every route but those of the admin, which has pages of its own."""
    for each in found.url_patterns:
        where = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            if each.namespace != "admin":
                yield from addresses(each, where)
        elif isinstance(each, URLPattern):
            yield str(each.name), _PARAMETER.sub(r"{\1}", where)


def sentence(method: str, address: str, role: str, raised: str, button: str, command: str) -> str:
    """A row for a terminal."""
    more = [f"a trader's {raised}"] * bool(raised) + [f"admin: {button}"] * bool(button)
    more += [f"terminal: {command}"] * bool(command)
    return "\n       ".join([f"{method:<6} {address}: {role}", *more])


def markdown(rows: list[tuple[str, ...]]) -> str:
    """The rows as a table, which the documents have as it is."""
    head = [COLUMNS, ("---",) * len(COLUMNS)]
    marked = [(method, f"`{address}`", role, raised, button, f"`{command}`" if command else "")
              for method, address, role, raised, button, command in rows]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in (*head, *marked))


def _role(rule: Rule) -> str:
    return rule.role.label if rule.role else "anybody"


def _buttons() -> Iterator[tuple[str, str]]:
    """Of the admin's lists: what of the API each button does, and its name."""
    admin.autodiscover()
    for page in admin.site._registry.values():  # noqa: SLF001 - the registry of what the site shows
        if isinstance(page, RoledAdmin):
            pages = str(page.model._meta.verbose_name_plural).capitalize()  # noqa: SLF001 - documented by Django
            for name, done in page.action_routes.items():
                words = str(getattr(page, name).short_description)
                yield done, f"{pages}: {words.partition(':')[0].partition(',')[0]}"


def _commands() -> Iterator[tuple[str, str]]:
    """Of the commands that have a subject: what of the API each action does, and its words."""
    for name, app in get_commands().items():
        command = load_command_class(app, name) if isinstance(app, str) else app
        for action in getattr(command, "actions", {}):
            done = SAME.get(action, f"POST {{}}-{action}")
            yield done.format(command.subject), f"{name} {action}"  # type: ignore[attr-defined]
