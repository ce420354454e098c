"""What pure code may not do, read from its source: which modules it reaches, and what it asks the world for."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.support.places import ROOT

FLOORS = ("helios", "trading", "tiers", "sentinel")

# Where time, chance and the environment come from: a pure function takes them as arguments.
IMPURE = {
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    *("os.environ", "os.environb", "os.getenv", "os.urandom", "uuid.uuid1", "uuid.uuid4"),
}
IMPURE_MODULES = ("time", "secrets", "random", "numpy.random", "django.utils.timezone")
# Generators that a caller seeds; without an argument they seed themselves.
SEEDED = {f"numpy.random.{name}" for name in ("default_rng", "SeedSequence", "PCG64")} | {"random.Random"}
ALLOWED = SEEDED | {"numpy.random.Generator", "numpy.random.BitGenerator"}


@cache
def contracts() -> list[dict[str, list[str]]]:
    """The contracts of pyproject.toml that keep frameworks out of pure code."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [each for each in found if "django" in each.get("forbidden_modules", ())]


def file_of(name: str, root: Path = ROOT) -> Path | None:
    """The file of a module or package of this house; None for any other name."""
    place = root.joinpath(*name.split("."))
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def inside(name: str, root: Path = ROOT) -> Iterator[str]:
    """The module itself, and every module in it where it is a package."""
    yield name
    path = file_of(name, root)
    if path is not None and path.name == "__init__.py":
        for each in sorted(path.parent.rglob("*.py")):
            parts = each.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def reached(seeds: Iterable[str], root: Path = ROOT) -> set[str]:
    """Every module of the house that importing the seeds runs: theirs, their parents', and what those import."""
    waiting = [each for seed in seeds for each in inside(seed, root)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = file_of(name, root)
        if name not in found and path is not None:
            found.add(name)
            waiting.append(name.rpartition(".")[0] or name)
            waiting += imported(path.read_text(), name if path.name == "__init__.py" else name.rpartition(".")[0])
    return found


def imported(source: str, package: str = "") -> Iterator[str]:
    """The names that a source imports, also inside functions; not those for the type checker alone."""
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = _home(node, package)
            yield home
            yield from (f"{home}.{alias.name}" for alias in node.names)


def impurities(source: str) -> Iterator[str]:
    """Uses of clock, chance or environment in a module's source, by whatever name they were imported."""
    tree = ast.parse(source)
    names = dict(_names(tree))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            continue
        used = _dotted(node, names)
        if used in SEEDED and id(node) in called and not (called[id(node)].args or called[id(node)].keywords):
            yield f"line {getattr(node, 'lineno', 0)}: {used}() without a seed"
        elif used in IMPURE or (used not in ALLOWED and used.rpartition(".")[0] in IMPURE_MODULES):
            yield f"line {getattr(node, 'lineno', 0)}: {used}"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements but those below `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                waiting += child.orelse
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                waiting.append(child)


def _home(node: ast.ImportFrom, package: str) -> str:
    """The package that an import names, relative ones too."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """`a.b.c` of a name or an attribute chain, with the imported name spelt out; empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        front = _dotted(node.value, names)
        return f"{front}.{node.attr}" if front else ""
    return ""
