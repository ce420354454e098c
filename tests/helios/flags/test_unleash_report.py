"""What `flags conformance` prints, and what it exits with."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from helios.control.bounds import FILE_BYTES
from helios.flags.unleash.conformance_report import FAILED, PASSED, UNREADABLE, conformance

ON = {"name": "f", "enabled": True, "strategies": []}


def test_a_failure_tells_what_was_expected_and_what_came(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    tests = [
        {"description": "is on", "toggleName": "f", "context": {"userId": "å"}, "expectedResult": True},
        {"description": "is off", "toggleName": "f", "context": {}, "expectedResult": False},
    ]
    variant = {"name": "red", "enabled": True, "feature_enabled": True}
    data = {"name": "99-ours", "state": {"features": [ON]}, "tests": tests}
    data["variantTests"] = [{"description": "is red", "toggleName": "f", "context": {}, "expectedResult": variant}]
    path.write_text(json.dumps(data))
    out = io.StringIO()
    assert conformance([path], out) == FAILED
    assert out.getvalue().splitlines() == [
        "FAILED 99-ours: is off",
        "  flag f, context {}",
        "  expected false, got true",
        "FAILED 99-ours: is red",
        "  flag f, context {}",
        (
            '  expected {"enabled": true, "feature_enabled": true, "name": "red"}, '
            'got {"enabled": false, "feature_enabled": true, "name": "disabled"}'
        ),
        "1 passed, 2 failed",
    ]


def test_several_files_end_in_one_closing_line(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    test = {"description": "", "toggleName": "f", "context": {}, "expectedResult": False}
    path.write_text(json.dumps({"name": "n", "state": {"features": []}, "tests": [test]}))
    out = io.StringIO()
    assert conformance([path, path], out) == PASSED
    assert out.getvalue() == "2 passed, 0 failed\n"


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"tests": []}', "\x00", "[" * 100_000])
def test_a_garbled_file_is_one_sentence_and_no_outcome(tmp_path: Path, content: str) -> None:
    path = tmp_path / "suite.json"
    path.write_text(content)
    out = io.StringIO()
    assert conformance([path], out) == UNREADABLE
    assert out.getvalue().startswith(f"{path}: ")
    assert out.getvalue().count("\n") == 1
    assert "passed" not in out.getvalue()


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    out = io.StringIO()
    assert conformance([tmp_path / "none.json"], out) == UNREADABLE
    assert out.getvalue().endswith("must be a file that can be read, was not: No such file or directory\n")


def test_a_file_of_more_than_all_flags_is_one_sentence(tmp_path: Path) -> None:
    (path := tmp_path / "large.json").write_text("[]" + " " * FILE_BYTES)
    out = io.StringIO()
    assert conformance([path], out) == UNREADABLE
    assert out.getvalue() == f"{path}: must be a file of 8 MiB at most, was larger\n"
