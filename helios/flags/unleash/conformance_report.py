"""`flags conformance`: files of Unleash's client specification evaluated, and the outcome told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from helios.control.cli import json_in
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.reader import evaluation_context
from helios.flags.unleash.conformance import Failure, Outcome, run

PASSED, FAILED, UNREADABLE = 0, 1, 2  # what the command exits with


def conformance(paths: Sequence[Path | str], out: IO[str]) -> int:
    """Run the files, write each failure and the closing line `N passed, M failed`; the exit code.

    1 when a test failed; 2, with one sentence and nothing else, when a file cannot be read as a specification.
    """
    outcomes: list[Outcome] = []
    for path in map(Path, paths):
        try:
            outcomes.append(_run(path))
        except ValueError as error:
            out.write(f"{path}: {error}\n")
            return UNREADABLE
    for outcome in outcomes:
        for failure in outcome.failures:
            out.write(_words(failure))
    failed = sum(len(outcome.failures) for outcome in outcomes)
    out.write(f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed\n")
    return FAILED if failed else PASSED


def _run(path: Path) -> Outcome:
    return run(json_in(path), datetime.now(UTC), _evaluation_context())


def _evaluation_context() -> EvaluationContext:
    """Those of this process but for the environment: a context of the specification that names none has none."""
    here = evaluation_context()
    return EvaluationContext(hostname=here.hostname, draw=here.draw)


def _words(failure: Failure) -> str:
    context = json.dumps(failure.context, ensure_ascii=False)
    return (
        f"FAILED {failure.suite}: {failure.description}\n"
        f"  flag {failure.flag}, context {context}\n"
        f"  expected {_plain(failure.expected)}, got {_plain(failure.got)}\n"
    )


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
