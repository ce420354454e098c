"""The gate process: `python -m helios.modules.gate JOB` loads one module's code and runs its suites.

It is started by `sandbox.run` and by nothing else. Everything it has to say goes over the pipe named in the
job, one JSON object a line: where it is, what each test said, and `end`. The parent keeps what was said before
a test crashed, hung or left.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from helios.errors import error_text, kind_of
from helios.modules import loading, sources
from helios.modules.errors import ModuleLoadFailed, ModuleRefused
from helios.modules.gate import confinement, kernel
from helios.modules.suites import Call, Candidate, Factory, GateFailure, GateTest, contract_of
from helios.modules.suites.process_state import ProcessState

MAX_MESSAGE: Final = 600  # characters

_write, _dumps, _getpid, _leave, _clock = os.write, json.dumps, os.getpid, os._exit, time.perf_counter  # as they are


class ResultPipe:
    """The way to the parent. A copy of this process, made by a fork in the code under test, has none."""

    def __init__(self, descriptor: int, token: str) -> None:
        self._descriptor, self._token, self._pid = descriptor, token, _getpid()

    def send(self, **message: Any) -> None:
        """Tell the parent, on a line of its own even behind garbage; who cannot tell has nothing left to do."""
        if _getpid() != self._pid:
            _leave(0)
        data = f"\n{self._token} {_dumps(message)}\n".encode()
        try:
            while data:
                data = data[_write(self._descriptor, data) :]
        except OSError:
            _leave(71)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A test in its suite."""

    suite: str
    test: GateTest


def settle_in(job: Mapping[str, Any]) -> list[str]:
    """Take on the limits of the job, die with the parent, go behind the walls; returns those that could not be had."""
    limits = job["limits"]
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: limits["memory_mb"] * 2**20,
        resource.RLIMIT_FSIZE: limits["file_mb"] * 2**20,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CPU: int(limits["time_s"]) + 5,
    }
    for each, bound in bounds.items():
        _, hard = resource.getrlimit(each)
        lower = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(each, (lower, lower))
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != job["parent"]:
            _leave(0)
    return confinement.enter(confinement.View(**job["view"]), handed=job["fd"])


def attribute(path: str) -> Any:
    """What a dotted path `package.module.NAME` names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def suites_of(job: Mapping[str, Any]) -> dict[str, tuple[GateTest, ...]]:
    """The tests of the wanted suites, by suite."""
    return {name: importlib.import_module(path).TESTS for name, path in job["suites"].items()}


def stages_of(suites: Mapping[str, Iterable[GateTest]]) -> tuple[str, ...]:
    """The stages that the suites speak of, in their order."""
    return tuple(dict.fromkeys(stage for tests in suites.values() for test in tests for stage in test.contracts))


def plan_of(suites: Mapping[str, Iterable[GateTest]], contract: str) -> list[Planned]:
    """What is run for code of that contract: required tests first, so that no optional one can keep them away."""
    fitting = [
        Planned(suite=name, test=test)
        for name, tests in suites.items()
        for test in tests
        if not test.contracts or contract in test.contracts
    ]
    return sorted(fitting, key=lambda each: not each.test.required)


def implementation_of(job: Mapping[str, Any]) -> Any:
    """The code that the job carries, loaded as a worker would: beside everything else, checked against its digest."""
    try:
        return loading.load_code(
            job["name"],
            job["digest"],
            sources.unpacked(job["files"]),
            job["path"],
            version=job["version"],
            root=Path(job["view"]["work"], "modules"),
            packages=job["allowed"],
        )
    except (ModuleLoadFailed, ModuleRefused) as error:
        raise GateFailure(str(error).removeprefix(f"module {job['name']} ")) from error


def load(job: Mapping[str, Any], calls: Mapping[str, Factory], stages: tuple[str, ...]) -> Candidate:
    """Load the code of the job, and find out whose calls it answers."""
    packages = tuple(job["packages"])
    before = ProcessState.now(packages)
    implementation = implementation_of(job)
    wanted = stages or tuple(calls)
    contract = contract_of(job["name"], implementation.run, calls, wanted, job["seed"])
    return Candidate(
        name=job["name"],
        version=job["version"],
        path=job["path"],
        contract=contract,
        implementation=implementation,
        call=calls.get(contract),
        before=before,
    )


def verdict(work: Callable[[], object]) -> tuple[str, str]:
    """Outcome and message of one test, whatever the code under test raises."""
    try:
        work()
    except GateFailure as failure:
        return "failed", str(failure)
    except MemoryError:
        return "error", "it asked for more memory than it may use (MemoryError)"
    except BaseException as error:  # noqa: BLE001 - code under test may raise anything, leaving included
        told = error_text(error)
        return "error", f"it raised {told if told != kind_of(error) else f'{told}()'}"
    return "passed", ""


def run_one(pipe: ResultPipe, planned: Planned, candidate: Candidate, seed: int) -> None:
    """Run one test and tell what it said."""
    pipe.send(begin=[planned.suite, planned.test.name, planned.test.required], patience=planned.test.patience)
    started = _clock()
    outcome, message = verdict(lambda: planned.test.function(candidate, seed))
    took_ms = round(1e3 * (_clock() - started), 3)
    pipe.send(result=[planned.suite, planned.test.name, planned.test.required, outcome, short(message), took_ms])


def short(message: str) -> str:
    """One line of bounded length that any database takes."""
    line = " ".join(message.encode("utf-8", "replace").decode().replace("\0", "").split())
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 3]}..."


def work_through(job: Mapping[str, Any], pipe: ResultPipe) -> None:
    """Suites first, then the code under test, then its tests one by one; without suites the code is only loaded."""
    suites = suites_of(job)
    calls: dict[str, Callable[[int], Call]] = attribute(job["calls"]) if suites else {}
    made: list[Candidate] = []
    loading = GateTest(
        name="loads", function=lambda _candidate, _seed: made.append(load(job, calls, stages_of(suites)))
    )
    nobody = Candidate(name=job["name"], version=job["version"], contract="", implementation=None)
    run_one(pipe, Planned(suite="gate", test=loading), nobody, job["seed"])
    if made:
        plan = plan_of(suites, made[0].contract)
        idle = sorted(suites.keys() - {each.suite for each in plan})
        if idle:
            pipe.send(idle=idle)
        pipe.send(plan=[[each.suite, each.test.name, each.test.required] for each in plan])
        for each in plan:
            run_one(pipe, each, made[0], job["seed"])
    pipe.send(end=True)


def main(path: str) -> None:
    """The whole life of a gate process; it leaves without the interpreter's farewell, which code may have hooked."""
    job = json.loads(Path(path).read_text())
    pipe = ResultPipe(job["fd"], job["token"])
    pipe.send(begin=["gate", "starts", True])
    lacking = settle_in(job)
    pipe = ResultPipe(job["fd"], job["token"])
    pipe.send(lacking=lacking)
    work_through(job, pipe)
    with contextlib.suppress(BaseException):  # the code under test may have put anything in their place
        sys.stdout.flush()
        sys.stderr.flush()
    _leave(0)
