"""No regular expression of the product takes more than linear time, whatever text it is asked about."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.ambiguity import trouble
from tests.support.places import ROOT

SOURCES = sorted(path for floor in ("helios", "trading", "tiers", "sentinel") for path in (ROOT / floor).rglob("*.py")
                 if "migrations" not in path.parts)  # fmt: skip
MATCHES = {"match": False, "fullmatch": False, "search": True, "sub": True, "subn": True, "findall": True,
           "finditer": True, "split": True}  # whether a match may begin anywhere  # fmt: skip
OF_OURS = {  # patterns that see no text from outside: file and pattern
    ("helios/web/openapi.py", r"\{[^}]+\}"): "our own routes",
    ("helios/db/statements.py", r"\(.*?\)"): "types of our own columns",
}


@dataclass(frozen=True)
class Pattern:
    """A regular expression where it stands."""

    file: str
    text: str
    flags: int
    anywhere: bool
    whole: bool


@lru_cache(maxsize=1)
def uses() -> dict[str, set[str]]:
    """What is called on each name anywhere in the product, as on `NAME` in `shapes.NAME.fullmatch(...)`."""
    found = defaultdict(set)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in MATCHES:
                owner = node.value
                name = (
                    owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                )
                found[name].add(node.attr)
    return found


def patterns(path: Path) -> Iterator[Pattern]:
    """The patterns that a file compiles, and those that it uses at once."""
    tree = ast.parse(path.read_text())
    names = {id(node.value): target.id for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign)
             for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
             if isinstance(target, ast.Name)}  # fmt: skip
    file = str(path.relative_to(ROOT))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        if called == "re.compile":
            how = uses().get(names.get(id(node), ""), {"search"})
        elif called == "RegexValidator":
            how = {"search"}
        elif called.startswith("re.") and called.removeprefix("re.") in MATCHES:
            how = {called.removeprefix("re.")}
        else:
            continue
        module = importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        )
        text, flags = (eval(ast.unparse(each), {**vars(module)}) for each in (node.args[0], _flags(node, called)))  # noqa: S307
        yield Pattern(file, text, int(flags), any(MATCHES[each] for each in how), how == {"fullmatch"})


def _flags(node: ast.Call, called: str) -> ast.expr:
    given = [each.value for each in node.keywords if each.arg == "flags"]
    place = 1 if called == "re.compile" else 2
    positional = node.args[place:] if called in {"re.compile", "re.match", "re.fullmatch", "re.search"} else []
    return (*given, *positional, ast.Constant(0))[0]


def test_every_pattern_reads_any_text_in_linear_time() -> None:
    files = [path for path in SOURCES if "re." in path.read_text() or "RegexValidator" in path.read_text()]
    found = [each for path in files for each in patterns(path)]
    slow = {(each.file, each.text): why for each in found
            if (why := trouble(each.text, each.flags, anywhere=each.anywhere, whole=each.whole))}  # fmt: skip
    assert slow.keys() == OF_OURS.keys(), slow
    assert len(found) > 30
    assert {each.file for each in found} >= {
        *("helios/redaction.py", "helios/web/middleware.py", "trading/models/books.py"),
    }


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (r"\w+://", {}),
        (r"(\w+://[^\s:/@]*):(?!\d+(?:[/?#\s]|$))[^\s\"']+@", {}),  # which read 32,000 letters for 21 s
        (r"(a+)+b", {"anywhere": False}),
        (r"(a|a)*b", {"anywhere": False}),
        (r"(?:a|b|ab)*c", {"anywhere": False}),
        (r"(a*)*b", {"anywhere": False}),
        (r"a*a*b", {"anywhere": False}),
        (r".*.*", {"anywhere": False, "whole": True}),
        (r"[a-z]+$", {}),
        (r"a(?=.*b)", {}),
    ],
)
def test_a_pattern_that_may_take_longer_is_recognised(text: str, how: dict[str, bool]) -> None:
    assert trouble(text, **how)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (r"[a-z]+", {}),
        (r"^[a-z]+$", {}),
        (r'"[^"]*"', {}),
        (r"(\d+\.)*\d+x", {"anywhere": False}),
        (r"\s*[:=]\s*x", {"anywhere": False}),
    ],
)
def test_a_pattern_that_cannot_is_left_alone(text: str, how: dict[str, bool]) -> None:
    assert re.compile(text)
    assert trouble(text, **how) == ""
