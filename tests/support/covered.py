"""Which lines the tests run, measured by SlipCover: a tracer costs two fifths of their time, this next to nothing.

Loaded before all else (`-p tests.support.covered`), since only what is imported afterwards is measured; without
`COVER=1` it does nothing. Processes that tests start are not measured.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.support.places import ROOT

PACKAGES = ("helios", "trading", "tiers", "sentinel")
OMITTED = ["*/migrations/*"]
NO_STATEMENTS = ["if TYPE_CHECKING:", "@overload", r"\.\.\.$"]
LEAST_PERCENT = 90.0
RUNS_BEFORE_A_PROBE_GOES = 100_000  # for one to go, all functions of all modules are looked at


class Measured:
    """The lines of this process, and those of the workers that have told theirs."""

    def __init__(self) -> None:
        import numba
        import slipcover

        self._slipcover: Any = slipcover
        self._lines = slipcover.Slipcover(
            omit=OMITTED, exclude_also=NO_STATEMENTS, d_miss_threshold=RUNS_BEFORE_A_PROBE_GOES
        )
        sources = [ROOT / each for each in PACKAGES]
        slipcover.ImportManager(self._lines, slipcover.FileMatcher(sources=sources, omit=OMITTED)).__enter__()
        numba.njit = _of_plain_code(numba.njit)
        self._sources = [str(each) for each in sources]
        self._told: list[dict[str, Any]] = []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker tells what it has seen; where all is known, too little of it fails the run."""
        told = getattr(session.config, "workeroutput", None)
        if told is not None:
            told["lines"] = json.dumps(self._lines.get_coverage())
        elif session.exitstatus == pytest.ExitCode.OK and self.percent() < LEAST_PERCENT:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        told = getattr(node, "workeroutput", {}).get("lines")  # a worker that crashed has told nothing
        if told is not None:
            self._told.append(json.loads(told))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("lines that no test has run")
        self._slipcover.print_coverage(self.found, outfile=terminalreporter, skip_covered=True)
        verdict = "" if self.percent() >= LEAST_PERCENT else ", which is too little"
        terminalreporter.write_line(f"Coverage is {self.percent():.2f} % of {LEAST_PERCENT:g} % at least{verdict}.")

    @functools.cached_property
    def found(self) -> dict[str, Any]:
        """SlipCover's report on all processes; files that nobody has imported count as not run."""
        self._lines.source = self._sources
        merged: dict[str, Any] = self._lines.get_coverage()
        for told in self._told:
            self._slipcover.merge_coverage(merged, told)
        return merged

    def percent(self) -> float:
        return float(self.found["summary"]["percent_covered"])


def _of_plain_code(njit: Callable[..., Any]) -> Callable[..., Any]:
    """Numba reads bytecode, and must not find what measures lines in it; the Python twin of a kernel keeps that."""

    def decorator(*functions: Any, **options: Any) -> Any:
        if functions:  # as libraries call it
            return njit(*functions, **options)

        def decorate(function: FunctionType) -> Any:
            if not function.__module__.startswith(PACKAGES):
                return njit(**options)(function)
            plain = FunctionType(_plain(function.__code__), function.__globals__, function.__name__)
            plain.__qualname__, plain.__module__ = function.__qualname__, function.__module__
            kernel = njit(**options)(plain)
            kernel.py_func = function
            return kernel

        return decorate

    return decorator


def _plain(code: CodeType) -> CodeType:
    """The code of a function as its source says."""
    inside = [compile(Path(code.co_filename).read_bytes(), code.co_filename, "exec")]
    for each in inside:
        if each.co_qualname == code.co_qualname:
            return each
        inside += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    raise LookupError(f"{code.co_qualname} must be in {code.co_filename}")


def pytest_configure(config: pytest.Config) -> None:
    """Only the one that was made with this module knows what was imported since."""
    if _measured is not None:
        config.pluginmanager.register(_measured, "measured-lines")


_measured = Measured() if os.environ.get("COVER") == "1" else None
