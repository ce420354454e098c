"""Files under 400 lines, functions under 60: longer ones are two things in one room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def python_files(roots: Iterable[str]) -> Iterator[Path]:
    """Python files under the given folders and files, migrations left out."""
    for root in map(Path, roots):
        found = [root] if root.is_file() else sorted(root.rglob("*.py"))
        yield from (path for path in found if "migrations" not in path.parts)


def too_long(path: Path) -> list[str]:
    """What is too long in one file, as `file:line: what`."""
    source = path.read_text()
    lines = source.count("\n")
    found = [f"{path}:1: file has {lines} lines, at most {MAX_FILE_LINES}"] if lines > MAX_FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}")
    return found


if __name__ == "__main__":
    problems = [line for path in python_files(sys.argv[1:]) for line in too_long(path)]
    sys.stdout.write("".join(f"{line}\n" for line in problems) or "Lengths are fine\n")
    sys.exit(bool(problems))
