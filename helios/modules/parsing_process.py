"""The process that parses a candidate, started by `helios.modules.sources` and nothing else.

Parsing holds the GIL, for longer than in proportion to a text's length: a process that serves would stand still.
"""

from __future__ import annotations

import ast
import json
import resource
import sys
from collections.abc import Mapping
from typing import Any, Final

PARSED_S: Final = 2  # of work; no tier of ours takes a tenth
MEMORY: Final = 512 * 1_048_576
LONGEST: Final = 10_000  # letters of a literal that is no text
STATED: Final = ("VERSION", "DEPENDENCIES")


class _UnparsedError(Exception):
    """A file that is no Python: which, where and why."""


def stated(main: str, files: Mapping[str, str]) -> dict[str, str]:
    """VERSION and DEPENDENCIES of the file `main` as literals in Python's own notation.

    Each file is parsed; its text has a letter for each byte. Raises `_UnparsedError`.
    """
    trees = {name: _parsed(name, text.encode("latin-1")) for name, text in files.items()}
    found: dict[str, str] = {}
    for node in trees[main].body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id in STATED and isinstance(value, ast.expr):
            worked_out = f"what line {value.lineno} works out" if target.id == "DEPENDENCIES" else None
            found[target.id] = _literal(value) or repr(worked_out)
    return found


def _literal(value: ast.expr) -> str:
    """Empty where it is none, or too long for one."""
    try:
        literal = ast.literal_eval(value)
        text = repr(literal)  # a number of more than 4,300 digits cannot be shown
    except (ValueError, TypeError, RecursionError, MemoryError):
        return ""
    return text if isinstance(literal, str) or len(text) <= LONGEST else ""


def _parsed(name: str, text: bytes) -> ast.Module:
    try:
        return ast.parse(text, name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise _UnparsedError(f"{name}{line} is not: {error}") from error


def main() -> None:
    """Read the files as JSON, write what they state."""
    resource.setrlimit(resource.RLIMIT_CPU, (PARSED_S, PARSED_S))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answer: dict[str, Any]
    try:
        answer = {"stated": stated(**json.load(sys.stdin))}
    except _UnparsedError as error:
        answer = {"unparsed": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
