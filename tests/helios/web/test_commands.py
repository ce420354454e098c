"""Every command of ours can be parsed as `manage.py` parses it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest
from django.core.management import get_commands, load_command_class

OURS = sorted(
    name for name, app in get_commands().items() if app.split(".")[0] in {"helios", "trading", "tiers", "sentinel"}
)
DJANGOS = {"settings", "pythonpath", "verbosity", "traceback", "no_color", "force_color", "skip_checks"}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of a command's actions, at any depth."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield each
                yield from parsers(each)


@pytest.mark.parametrize("name", OURS)
def test_no_argument_takes_the_place_of_one_of_djangos(name: str) -> None:
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    own = [action.dest for each in parsers(parser) for action in each._actions]
    positional = [action.dest for action in parser._actions if not action.option_strings]
    assert not DJANGOS & {*own, *positional}


@pytest.mark.parametrize("name", OURS)
def test_every_reason_keeps_the_rule_of_the_api(name: str) -> None:
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    given = {action.type for each in (parser, *parsers(parser)) for action in each._actions if action.dest == "reason"}
    for rule in given:
        assert callable(rule)
        with pytest.raises(argparse.ArgumentTypeError):
            rule("\x1b[2J")
