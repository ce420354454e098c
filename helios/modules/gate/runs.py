"""Gate tests of a module's version: which suites it must pass, their run in a process of its own, its history.

from helios.modules.gate import runs
report = runs.run_suites("risk", "1.1.0+3fa1b2c4", actor="ann")
report.passed
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from helios import events
from helios.errors import harmless
from helios.logs import redact
from helios.modules import loading, sources
from helios.modules.errors import ModuleRefused
from helios.modules.gate import confinement, sandbox
from helios.modules.gate.sandbox import GateOutcome, Limits
from helios.modules.gate.transcript import LOADS, STARTS, Outcome, Planned, TestResult, Transcript
from helios.modules.models import ModuleTestRun, ModuleVersion
from helios.modules.rows import find, version_of

DEFAULTS: Final = Limits()
SEED: Final = 7
GATE: Final = "helios.modules.gate"
ENDS: Final = ("gate", "ends", True)
MAX_BYTES: Final = 200_000  # of the results that a record keeps: what they say is the candidate's


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """A whole run; `passed` when every required test did, whatever the optional ones say."""

    __test__ = False

    module: str
    version: str  # the label of the tested version
    digest: str
    suites: tuple[str, ...]
    passed: bool
    results: tuple[TestResult, ...]
    output: str
    duration_ms: float
    lacking: tuple[str, ...]  # walls around its process that the machine did not allow
    run_id: int = 0

    @property
    def reason(self) -> str:
        """Why it may not be used, to follow "module risk 1.1.0 ...": its first required test that did not pass."""
        blocking = [result for result in self.results if result.blocks]
        if not blocking:
            return "" if self.passed else "was not tested: no required test was run"
        first, more = blocking[0], f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        if first.suite == "gate":
            what = "did not live through its tests" if first.name == "ends" else "could not be loaded"
            return first.message if first.outcome == "failed" else f"{what}: {first.message}"
        return f"did not pass the {first.suite} test {first.name!r} ({first.outcome}): {first.message}{more}"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "reason": self.reason}


def run_suites(
    name: str, version: str = "", suites: Sequence[str] | None = None, *, actor: str = "system"
) -> TestReport:
    """Run the suites that gate the module on one of its versions, and keep the result in the history.

    `version` is one as `rows.version_of` reads it, or empty for the newest of all; `suites` replaces
    those that the setting MODULE_GATES names. Blocks until the process has ended: call it outside a transaction.
    Raises `UnknownModule`, and `ModuleRefused` for an unknown suite (nothing is run then), or a suite
    beside those of the slot that has no test for this code (the run is kept as a failed one).
    """
    wanted = suites_of(name, suites)
    tested = version_of(find(name), version)
    started = timezone.now()
    ended = sandbox.run(GATE, job_of(tested, wanted), limits=DEFAULTS)
    report = report_of(ended, tested, tuple(wanted))
    with transaction.atomic():
        row = ModuleTestRun.objects.create(
            module=name,
            version=report.version,
            digest=report.digest,
            suites=list(report.suites),
            passed=report.passed,
            results=[asdict(result) for result in report.results],
            output=report.output,
            lacking=list(report.lacking),
            actor=actor,
            started_at=started,
            duration_ms=report.duration_ms,
        )
        events.record(
            kind="module.tested",
            source="modules",
            subject=name,
            severity="info" if report.passed else "warning",
            data={"label": report.version, "passed": report.passed, "run": row.pk, "reason": report.reason}
            | {"suites": list(report.suites), "actor": actor},
        )
    if ended.kind == "finished" and not set(ended.said.idle) <= set(gates_of(name)):
        raise ModuleRefused(_idle(ended.said.idle[0], name))  # asked for by whoever wanted the run
    return replace(report, run_id=row.pk)


def passes(version: ModuleVersion, more: Sequence[str] = (), *, actor: str) -> str:
    """Run the suites that gate the slot, and `more`, on the code; empty, or what failed first.

    Every way by which a version can come to work asks this, and none of them can ask for less.
    """
    name = version.module.name
    return run_suites(name, version.label, (*gates_of(name), *more), actor=actor).reason


def missing_walls() -> list[str]:
    """The walls around code under test that this machine does not allow."""
    return confinement.missing(sandbox.places(loading.PRODUCT))


def gates_of(name: str) -> tuple[str, ...]:
    """The suites that a version of this module must pass; `generic` for one that no setting speaks of."""
    return tuple(settings.MODULE_GATES.get(name, ("generic",)))


def suites_of(name: str, suites: Sequence[str] | None = None) -> dict[str, str]:
    """The wanted suites and their dotted paths; `ModuleRefused` names those there are."""
    known: Mapping[str, str] = settings.MODULE_SUITES
    wanted = gates_of(name) if suites is None else tuple(dict.fromkeys(suites))
    unknown = [each for each in wanted if each not in known]
    if unknown or not wanted:
        was = repr(unknown[0]) if unknown else "none"
        raise ModuleRefused(f"a test suite must be one of {', '.join(known)}, was {was}")
    return {each: known[each] for each in wanted}


def job_of(tested: ModuleVersion, suites: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the gate process is told: the sources too, so that it runs these and no others."""
    if tested.code is not None:
        path, digest, files = tested.code.path, tested.code.digest, tested.code.files
    else:  # registered before sources were kept: what lies on disk
        found = sources.read(tested.path, loading.allowed_packages())
        path, digest, files = found.path, found.digest, sources.packed(found.files)
    ahead = sorted({*settings.MODULE_SUITES.values(), settings.MODULE_CALLS.rpartition(".")[0]})
    return {
        "name": tested.module.name,
        "version": tested.version,
        "path": path,
        "digest": digest,
        "files": files,
        "code": str(Path(settings.MODULES_DIR).resolve() / digest),
        "suites": dict(suites),
        "calls": settings.MODULE_CALLS,
        "ahead": ahead,
        "visible": sorted({each.partition(".")[0] for each in (*loading.PRODUCT, *ahead)}),
        "packages": list(loading.PRODUCT),
        "allowed": list(loading.allowed_packages()),
        "seed": SEED,
    }


def report_of(ended: GateOutcome, tested: ModuleVersion, suites: tuple[str, ...]) -> TestReport:
    """What a gate process said, and what it could no longer say."""
    said = ended.said
    results = [*said.results, *(_unreported(said) if ended.kind == "finished" else _lost(ended))]
    results += [_result((each, "has a test", True), "error", _idle(each, tested.module.name)) for each in said.idle]
    required = [result for result in results if result.required]
    return TestReport(
        module=tested.module.name,
        version=tested.label,
        digest=tested.digest,
        suites=suites,
        passed=bool(required) and not any(result.blocks for result in required),
        results=_bounded(
            [
                replace(result, suite=line(result.suite), name=line(result.name), message=line(result.message))
                for result in results
            ]
        ),
        output=shown(ended.output),
        duration_ms=round(ended.duration_ms, 3),
        lacking=tuple(confinement.WALLS if said.lacking is None else map(line, said.lacking)),
    )


def shown(text: str) -> str:
    """What code under test has printed, without our secrets and whatever steers a terminal; lines stay lines."""
    return harmless(redact(text))


def line(text: str) -> str:
    """What it says of itself, in one such line."""
    return " ".join(shown(text).split())


def _bounded(results: Sequence[TestResult]) -> tuple[TestResult, ...]:
    """As many results as a record has room for, those that block first; the last one says how many are left out."""
    kept, room = [False] * len(results), MAX_BYTES
    for number in sorted(range(len(results)), key=lambda number: not results[number].blocks):
        room -= len(json.dumps(asdict(results[number])))
        if room < 0:
            break
        kept[number] = True
    shown_ones = tuple(compress(results, kept))
    if len(shown_ones) == len(results):
        return shown_ones
    failed = sum(result.outcome != "passed" for result in results) - sum(r.outcome != "passed" for r in shown_ones)
    told = f"{len(results) - len(shown_ones)} more results are left out, {failed} of them not passed: they say too much"
    blocks = sum(result.blocks for result in results) > sum(result.blocks for result in shown_ones)
    return (*shown_ones, _result(("gate", "left out", blocks), "error", told))


def _lost(ended: GateOutcome) -> list[TestResult]:
    """The test in which the process ended, and those that were still to come; at least one, since it did end."""
    said = ended.said
    last = said.begun[-1] if said.begun else STARTS
    if said.has_result(last):  # between two tests, or behind the last one
        last = ENDS
    outcome: Outcome = "timeout" if ended.kind == "timeout" else "killed"
    why = f"not run, since the process ended in {last[1]!r}"
    waiting = [each for each in said.plan or () if each != last and not said.has_result(each)]
    return [_result(last, outcome, ended.reason), *(_result(each, "error", why) for each in waiting)]


def _unreported(said: Transcript) -> list[TestResult]:
    """Of a process that came to its end: every test whose result was not heard. Silence is no pass."""
    missing = [each for each in (LOADS, *(said.plan or ())) if not said.has_result(each)]
    if said.plan is None and not any(result.blocks for result in said.results):
        missing.append(ENDS)  # which tests were to be run is not known
    return [_result(each, "error", "its result was not heard, something else wrote over it") for each in missing]


def _result(test: Planned, outcome: Outcome, message: str) -> TestResult:
    suite, name, required = test
    return TestResult(suite=suite, name=name, required=required, outcome=outcome, message=message, duration_ms=0.0)


def _idle(suite: str, name: str) -> str:
    return f"suite {suite} has no test for module {name}; the suites that gate it are {', '.join(gates_of(name))}"
