"""`make check` asks for advisories against what is pinned, and says so where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

CLEAN = {"name": "django", "version": "5.2", "vulns": []}
KNOWN = {"name": "celery", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
UNASKED = {"name": "torch", "skip_reason": "not found: torch"}


@pytest.mark.parametrize(
    ("found", "strict", "status", "words"),
    [
        ([CLEAN], True, 0, "Advisories: 0 against 1 of 1 pinned packages."),
        ([CLEAN, KNOWN], False, 1, "celery 1.0: PYSEC-1, fixed in 1.1"),
        ([KNOWN, UNASKED], False, 1, "celery 1.0: PYSEC-1, fixed in 1.1"),
        ([CLEAN, UNASKED], False, 0, "could not all be asked for, which says nothing about the rest: not found: torch"),
        ([CLEAN, UNASKED], True, 1, "could not all be asked for"),
        (None, False, 0, "could not all be asked for, which says nothing about the rest: no route to the list"),
        (None, True, 1, "no route to the list"),
    ],
)
def test_an_advisory_is_a_failure_and_so_is_a_strict_check_that_could_not_ask(
    tmp_path: Path, found: list[dict[str, Any]] | None, strict: bool, status: int, words: str
) -> None:
    """A stand-in for pip-audit answers: the real list changes from day to day."""
    says = f"print({json.dumps(json.dumps({'dependencies': found}))})"
    (tmp_path / "pip_audit.py").write_text(says if found else "raise SystemExit('no route to the list')")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "AUDIT": "strict" if strict else ""}
    run = subprocess.run(
        [sys.executable, ".ci/audit.py"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (status, "")
    assert words in run.stdout
