"""README and guides name what is there: files, packages, names in code, and commands with their options."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from tests.support.places import ROOT
from tiers.backtest.evidence import Evidence
from tiers.backtest.metrics import Metrics

GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FLOORS = "helios|trading|tiers|sentinel|bench|examples"
TASKS = {"tiers.tick", "tiers.recover"}  # names of tasks and settings of the database, which read like packages
SETTINGS = {"helios.maintenance"}
SOURCES = {path.name for floor in FLOORS.split("|") for path in (ROOT / floor).rglob("*.*")}


def missing_in(dotted: str) -> str:
    """The part of a dotted name that is no package, no module and no word of the module it should be in."""
    parts = dotted.split(".")
    place = ROOT / parts[0]
    for number, part in enumerate(parts[1:], start=1):
        if (place / part).is_dir():
            place /= part
            continue
        source = place / f"{part}.py"
        rest = parts[number + 1 :] if source.is_file() else parts[number:]
        source = source if source.is_file() else place / "__init__.py"
        return "" if not rest or re.search(rf"\b{rest[0]}\b", source.read_text()) else rest[0]
    return ""


def commands_in(text: str) -> list[str]:
    """The command lines of indented blocks, without remarks behind them."""
    joined = re.sub(r" \\\n +", " ", text)
    found = re.findall(r"^    (?:\$ )?(?:\S*python )manage\.py (.+)$", joined, flags=re.MULTILINE)
    return [re.split(r" {2,}| #| \|", line)[0] for line in found]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_name_in_a_guide_is_in_the_code(guide: Path) -> None:
    names = set(re.findall(rf"(?<![\w./-])((?:{FLOORS})(?:\.\w+)+)", guide.read_text())) - TASKS - SETTINGS
    assert {name: missing_in(name) for name in names if missing_in(name)} == {}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_file_in_a_guide_is_there(guide: Path) -> None:
    text = guide.read_text()
    paths = set(re.findall(rf"(?<![\w./-])((?:{FLOORS}|tests|docs)/[\w./-]*\w)(?![\w*<])", text))
    short = set(re.findall(r"`(\w+\.(?:py|lua))`", text))
    gone = {path for path in paths if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()}
    assert gone | (short - SOURCES - {"manage.py"}) == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_command_in_a_guide_is_taken_with_its_options(guide: Path) -> None:
    for line in commands_in(guide.read_text()):
        name, *words = shlex.split(line)
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        parser.parse_args(words)  # raises `CommandError` for what the command does not know


def test_every_test_of_a_gate_is_in_the_guide() -> None:
    told = [line for line in (ROOT / "docs/module-tests.md").read_text().splitlines() if "|" in line or "**" in line]
    suites = [importlib.import_module(place) for place in settings.MODULE_SUITES.values()]
    assert [test.name for suite in suites for test in suite.TESTS if test.name not in "\n".join(told)] == []


@pytest.mark.parametrize(
    "name", sorted({field.name for kind in (Metrics, Evidence) for field in fields(kind)} - {"says"})
)
def test_each_figure_of_a_backtest_is_explained(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/figures.md").read_text()


def test_a_name_that_is_gone_is_noticed() -> None:
    assert missing_in("trading.books.accounting.exact") == missing_in("tiers.live.handlers") == ""
    assert missing_in("trading.books.accounting.inexact") == "inexact"
    assert missing_in("tiers.live.windows") == "windows"
