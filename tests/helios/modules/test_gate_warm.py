"""The gate forked from a warm process: as clean and as guarded as from a cold start, whatever becomes of that."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from helios.modules import services
from helios.modules.gate import runs, sandbox
from helios.modules.gate.process_tree import TOKEN, ProcessTree
from helios.modules.gate.sandbox import GateOutcome
from helios.modules.models import ModuleVersion
from helios.stack.children import wait_until
from tests.helios.modules.test_gate_sandbox import GOOD, LIMITS, carriers, job, outcomes
from tests.support.together import at_once

POLARS = {"jemalloc_bg_thd", "polars-ooc-clea"}  # its allocator is made for forks; our workers fork with both, too
STARTED = f"import sys\nprint(*sys.orig_argv)\n{GOOD}"


@pytest.fixture
def own(monkeypatch) -> Iterator[None]:
    """No warm process of earlier tests, and none of this one for later ones."""
    monkeypatch.setattr(sandbox, "_kept", {})
    yield
    for each in sandbox._kept.values():
        each.close()


@pytest.fixture
def gate(tmp_path: Path) -> Callable[..., GateOutcome]:
    def run(source: str, **job_changes: object) -> GateOutcome:
        asked = {**job(source, tmp_path), **job_changes}
        return sandbox.run("helios.modules.gate", asked, limits=LIMITS)

    return run


def warm_pid(ended: GateOutcome) -> int:
    """The process that the runs of this test are forked from."""
    assert ended.kind == "finished", ended
    (kept,) = sandbox._kept.values()
    return kept._server.process.pid


def test_runs_come_from_one_warm_process_until_it_is_killed(gate, own):
    first = warm_pid(gate(STARTED))
    assert warm_pid(gate(STARTED)) == first
    os.kill(first, signal.SIGKILL)
    ended = gate(STARTED)
    assert warm_pid(ended) != first
    assert "helios.warm_process" in ended.output


def test_each_set_of_modules_of_ours_has_a_warm_process_that_has_imported_them(gate, own):
    loaded = f"import sys\nprint('tests.support.gate_tiny' in sys.modules)\ndef run(value): ...\n{GOOD}"
    nothing = {"suites": {}}
    assert gate(loaded, **nothing).output.strip() == "False"
    assert gate(loaded, **nothing, ahead=["tests.support.gate_tiny"]).output.strip() == "True"


def test_without_a_warm_process_it_is_started_from_nothing(gate, own, tmp_path, monkeypatch):
    (tmp_path / "ends_at_import.py").write_text("import os; os._exit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    ended = gate(STARTED, ahead=["ends_at_import"])
    assert ended.kind == "finished"
    assert "helios.warm_process" not in ended.output


def test_code_that_would_end_its_parents_and_all_others_ends_nobody(gate, own):
    others: list[GateOutcome] = []
    waits = "import time\ndef wait(): time.sleep(1)\n"
    thread = threading.Thread(target=lambda: others.append(gate(f"{waits}{GOOD}")))
    thread.start()
    killing = """
        import os, signal
        def run(value):
            for pid in (os.getppid(), *range(1, 40_000)):
                if pid != os.getpid():
                    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGKILL):
                        try:
                            os.kill(pid, number)
                        except OSError:
                            pass
            return value
    """
    assert outcomes(gate(textwrap.dedent(killing)))["runs"] == "passed"
    thread.join(120)
    assert outcomes(others[0])["slow"] == "passed"


def test_a_run_that_is_gone_before_it_is_watched_is_begun_once_more(gate, own, monkeypatch):
    watched: list[int] = []

    def family(pid: int, token: str, folder: Path) -> ProcessTree:
        watched.append(pid)
        if len(watched) == 1:
            raise psutil.NoSuchProcess(pid)
        return ProcessTree(pid, token, folder)

    monkeypatch.setattr(sandbox, "ProcessTree", family)
    assert gate(GOOD).kind == "finished"
    assert len(watched) == 2


def test_a_warm_process_that_is_stopped_holds_up_no_later_run(gate, own, monkeypatch):
    monkeypatch.setattr(sandbox, "KILLED_S", 0.5)
    first = warm_pid(gate(STARTED))
    waits = f"import time\nprint('here')\ndef wait(): time.sleep(1)\n{GOOD}"
    ended: list[GateOutcome] = []
    thread = threading.Thread(target=lambda: ended.append(gate(waits)))
    thread.start()
    assert wait_until(lambda: psutil.Process(first).children(), timeout_s=60)
    os.kill(first, signal.SIGSTOP)
    thread.join(120)
    assert outcomes(ended[0])["slow"] == "passed"
    assert warm_pid(gate(STARTED)) != first
    assert not psutil.pid_exists(first)


def test_the_warm_process_knows_no_secret_and_stays_small(gate, own, monkeypatch, settings):
    ahead = ["tiers.gates.calls", *settings.MODULE_SUITES.values()]
    for name in ("HELIOS_DATABASE_URL", "ANTHROPIC_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "a-secret")
    warm = psutil.Process(warm_pid(gate(STARTED, ahead=ahead)))
    assert "a-secret" not in "".join(warm.environ().values())
    assert set(warm.environ()[TOKEN]) == {"0"}
    assert [each for each in warm.environ() if each.startswith(("HELIOS_", "DJANGO_"))] == [TOKEN]
    threads = {Path(f"/proc/{warm.pid}/task/{each.id}/comm").read_text().strip() for each in warm.threads()}
    assert threads <= {warm.name(), *POLARS}  # no other one can hold a lock while it forks
    assert warm.memory_info().rss < 512 * 2**20


def test_code_sees_the_descriptors_of_a_cold_start_while_others_run(gate, own):
    seen = "import os\nprint(*sorted(os.listdir('/proc/self/fd'), key=int))\n"
    ended = at_once(lambda _: gate(f"{seen}{GOOD}"), range(3))
    assert [each.output.split() for each in ended] == [["0", "1", "2", "3", "4"]] * 3  # the fourth lists the folder


def test_who_forks_twice_without_exec_is_ended(gate, own):
    source = """
        import os, time
        def run(value):
            seen, seeing = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.write(seeing, b".")
                    time.sleep(600)
                os._exit(0)
            os.wait()
            os.read(seen, 1)
            print(os.environ["HELIOS_GATE_RUN"])
            return value
    """
    ended = gate(textwrap.dedent(source))
    assert (ended.kind, outcomes(ended)["runs"]) == ("finished", "passed")
    assert wait_until(lambda: not carriers(ended.output.strip()), timeout_s=60)


@pytest.mark.django_db
def test_all_gates_share_what_is_imported_ahead(code, settings):
    settings.MODULE_SUITES = {"ml": "tiers.gates.predict", "risk": "tiers.gates.risk"}
    services.register("oracle", code("oracle"), actor="ann")
    version = ModuleVersion.objects.select_related("module", "code").get(module__name="oracle")
    loading, tested = (runs.job_of(version, suites) for suites in ({}, {"ml": "tiers.gates.predict"}))
    assert loading["ahead"] == tested["ahead"] == ["tiers.gates.calls", "tiers.gates.predict", "tiers.gates.risk"]
