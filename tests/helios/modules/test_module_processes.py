"""Swaps over real processes: together or not at all, through deaths and late arrivals, with and without Redis."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack

pytestmark = pytest.mark.stack
PATIENCE_S = 300.0  # with a machine under load

MODULE = """
VERSION = {version!r}
def run(value):
    {body}
    return VERSION
"""

# A worker without Celery: a task is one refresh and several calls that must all see one version.
WORKER = """
import json, os, sys, time
import django; django.setup()
from helios.modules import process, swap_worker, watch
from helios.modules.errors import WatchedCallFailed
swap_worker.start().present.wait(300)
out = open(sys.argv[1], "a", buffering=1)
last = None
while not os.path.exists(sys.argv[1] + ".stop"):
    process.refresh_if_behind()
    process.resolve("oracle")
    try:
        seen = [watch.guarded(process.resolve("oracle")).run(n) for n in range(5)]
    except WatchedCallFailed as error:
        before = process.resolve_pinned("oracle", watch.fallback_label("oracle"))
        seen = ["failed", before.implementation.run(0)]
    watch.flush()
    if seen != last:
        out.write(json.dumps({"seen": seen}) + "\\n")
        last = seen
    time.sleep(0.002)
swap_worker.stop()
"""


class Desk:
    """A stack with a slot `oracle` in a package of its own, and workers that use it in a loop."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        (folder / "scratch_desk").mkdir()
        (folder / "scratch_desk" / "__init__.py").write_text("")
        stack.environ |= {
            "PYTHONPATH": str(folder),
            "HELIOS_MODULE_PACKAGES": "scratch_desk,tiers",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.write("1.0.0")
        said = self.services("services.register('oracle', 'scratch_desk.oracle'); services.activate('oracle')")
        assert "Error" not in said, said

    def write(self, version: str, *, body: str = "pass") -> None:
        text = MODULE.format(version=version, body=body)
        (self.folder / "scratch_desk" / "oracle.py").write_text(text)

    def services(self, code: str, name: str = "services", *, wait: bool = True) -> str:
        """Run some calls of the services in a process of their own, with the gate open; what it printed."""
        text = (
            "import django; django.setup()\nfrom helios.modules import services\nfrom helios.modules.gate import runs\n"
            f"runs.passes = lambda *_, **__: ''\n{code}\n"
        )
        process = self.stack.start(ProcessSpec(name=name, argv=[sys.executable, "-c", text]))
        if wait:
            process.wait(PATIENCE_S)
        return self.stack.log(name).read_text()

    def swap(self, version: str, *, name: str = "services", before: str = "", body: str = "pass") -> str:
        """Write, register and swap a version; what it said on the way, or why not. With `before` nobody waits."""
        self.write(version, body=body)
        return self.services(
            f"import time; {before or 'pass'}\nrow = services.register('oracle', 'scratch_desk.oracle')\n"
            "services.swap('oracle', row.label, actor='ann', progress=print)",
            name,
            wait=not before,
        )

    def start(self, name: str) -> None:
        argv = [sys.executable, "-c", WORKER, str(self.folder / f"{name}.jsonl")]
        self.stack.start(ProcessSpec(name=name, argv=argv))

    def wait_present(self, n: int) -> None:
        asked = "SELECT count(*) FROM module_processes WHERE seen_at > now() - interval '15 s'"
        self.stack.wait_for(lambda: self.stack.value(asked) >= n, what=f"{n} processes")

    def lines(self, name: str) -> list[dict]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def seen(self, name: str) -> list[list[str]]:
        return [line["seen"] for line in self.lines(name) if "seen" in line]

    def wait_seen(self, names: list[str], version: str) -> None:
        self.stack.wait_for(
            lambda: all(self.seen(name)[-1:] == [[version] * 5] for name in names), what=f"{version} everywhere"
        )

    def stop(self, names: list[str]) -> None:
        for name in names:
            (self.folder / f"{name}.jsonl.stop").touch()
        for name in names:
            assert self.stack.processes.pop(name).wait(PATIENCE_S) == 0


@pytest.fixture
def desk(stack: Stack, tmp_path: Path) -> Desk:
    return Desk(stack, tmp_path)


def test_four_processes_switch_between_two_tasks_and_one_that_was_down_comes_up_right(desk: Desk):
    names = [f"w{number}" for number in range(4)]
    for name in names:
        desk.start(name)
    desk.wait_present(4)
    desk.wait_seen(names, "1.0.0")
    assert "ready in 4 processes" in desk.swap("1.1.0")
    desk.wait_seen(names, "1.1.0")
    for name in names:
        assert desk.seen(name) == [["1.0.0"] * 5, ["1.1.0"] * 5]
    desk.stack.kill("w3")
    assert "ready in 3 processes" in desk.swap("1.2.0")
    (desk.folder / "scratch_desk" / "oracle.py").unlink()
    desk.start("late")
    desk.wait_seen(["late"], "1.2.0")
    assert desk.seen("late") == [["1.2.0"] * 5]
    desk.stop([*names[:3], "late"])
    assert desk.stack.value("SELECT count(*) FROM module_processes") == 0


def test_a_faulty_version_is_taken_back_by_the_workers_themselves(desk: Desk):
    names = ["w0", "w1"]
    for name in names:
        desk.start(name)
    desk.wait_present(2)
    desk.wait_seen(names, "1.0.0")
    desk.swap("1.1.0", body="assert value != 3")
    desk.stack.wait_for(
        lambda: desk.stack.value("SELECT count(*) FROM module_swaps WHERE state = 'ROLLED_BACK'") == 1,
        what="the rollback",
    )
    desk.wait_seen(names, "1.0.0")
    for name in names:
        assert all(each in (["1.0.0"] * 5, ["failed", "1.0.0"]) for each in desk.seen(name))
    assert desk.stack.value("SELECT version FROM modules WHERE name = 'oracle'") == "1.0.0"


def test_a_version_that_kills_its_process_in_a_watched_call_is_taken_back(desk: Desk):
    desk.start("w0")
    desk.wait_present(1)
    desk.wait_seen(["w0"], "1.0.0")
    desk.swap("1.1.0", body="import os; os._exit(9)")
    assert desk.stack.processes["w0"].wait(PATIENCE_S) == 9
    desk.services("print(services.recover())")
    assert desk.stack.value("SELECT version FROM modules WHERE name = 'oracle'") == "1.0.0"
    assert "died in a watched call" in desk.stack.value("SELECT error FROM module_swaps WHERE state = 'ROLLED_BACK'")


def test_without_redis_the_processes_still_hear_of_a_swap(desk: Desk):
    desk.start("w0")
    desk.wait_present(1)
    desk.wait_seen(["w0"], "1.0.0")
    desk.stack.stop_valkey()
    assert "ready in 1 processes" in desk.swap("1.1.0")
    desk.wait_seen(["w0"], "1.1.0")


def test_a_swap_whose_owner_is_killed_is_failed_and_the_next_one_goes_through(desk: Desk):
    desk.swap("1.1.0", name="owner", before="runs.passes = lambda *_, **__: time.sleep(600)")
    testing = "SELECT count(*) FROM module_swaps WHERE state = 'TESTING'"
    desk.stack.wait_for(lambda: desk.stack.value(testing) == 1, what="the swap")
    assert "is being swapped to 1.1.0" in desk.swap("1.2.0")
    desk.stack.kill("owner")
    assert "ready in 0 processes" in desk.swap("1.2.0")
    failed, done = desk.stack.query("SELECT state, error FROM module_swaps ORDER BY id")
    assert (failed[0], done) == ("FAILED", ("SWITCHED", ""))
    assert "died while it was running its tests" in failed[1]


def test_a_version_that_ends_a_process_or_holds_it_as_it_is_loaded_is_not_switched_to(desk: Desk):
    for name in ("w0", "w1"):
        desk.start(name)
    desk.wait_present(2)
    desk.wait_seen(["w0", "w1"], "1.0.0")
    ends = "import os; os.environ.get('HELIOS_COMPONENT') == 'w1' and os._exit(1)"
    said = desk.swap("1.1.0", body=f"return VERSION\n{ends}\ndef never():\n    pass")
    assert "ended or fell silent while it loaded oracle 1.1.0" in said
    desk.stop(["w0"])
    assert desk.seen("w0") == [["1.0.0"] * 5]


def test_a_stopped_process_holds_a_swap_up_until_it_counts_as_dead(desk: Desk):
    for name in ("w0", "w1"):
        desk.start(name)
    desk.wait_present(2)
    desk.wait_seen(["w0", "w1"], "1.0.0")
    desk.stack.kill("w1", signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert "ready in 1 of 2 processes" in desk.swap("1.1.0")
        assert time.monotonic() - begun > 5
        desk.wait_seen(["w0"], "1.1.0")
    finally:
        os.killpg(desk.stack.processes["w1"].pid, signal.SIGCONT)
    desk.wait_seen(["w1"], "1.1.0")
    assert desk.seen("w1")[-2:] == [["1.0.0"] * 5, ["1.1.0"] * 5]
