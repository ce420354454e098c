"""Processes forked from a warm one: they are as from a cold start, and no end of the warm one is anybody's trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from helios.stack.children import is_alive, wait_until
from helios.warm import Forked, WarmLost, WarmProcess
from tests.support.places import ROOT

PARENT = "import os; print(os.getppid())"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., WarmProcess]]:
    made: list[WarmProcess] = []

    def warm(*modules: str, **options: object) -> WarmProcess:
        environ = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]), "GIVEN": "at the start", "MARK": "0000"}
        made.append(
            WarmProcess(
                modules, **{"environ": environ, "folder": tmp_path, "python": (sys.executable, "-P"), **options}
            )
        )
        return made[-1]

    yield warm
    for each in made:
        each.close()


@pytest.fixture
def warm(make) -> WarmProcess:
    return make()


def begin(warm: WarmProcess, code: str, out: Path, **options: object) -> Forked:
    environ = {"PYTHONPATH": str(ROOT), "MARK": "1234"}
    with out.open("wb") as file:
        outputs = {"stdout": file.fileno(), "stderr": file.fileno()}
        return warm.start(["-c", code], **{"environ": environ, "folder": out.parent, **outputs, **options})


def output(warm: WarmProcess, code: str, tmp_path: Path, **options: object) -> str:
    """What a forked process printed, once it has ended well."""
    out = tmp_path / f"out-{threading.get_ident()}-{time.monotonic_ns()}"
    status = begin(warm, code, out, **options).wait(60)
    assert status == 0, out.read_text()
    return out.read_text().strip()


def test_every_process_comes_from_one_warm_process_also_from_several_threads(warm, tmp_path):
    parents: list[str] = []
    threads = [
        threading.Thread(target=lambda: parents.append(output(warm, PARENT, tmp_path)), daemon=True) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(parents) == 4
    assert len({output(warm, PARENT, tmp_path), *parents}) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", -15), ("raise OSError", 1), ("", 0)],
)
def test_its_end_is_told_as_of_a_child(warm, tmp_path, code: str, status: int):
    process = begin(warm, code, tmp_path / "out")
    assert process.wait(60) == process.poll() == status
    assert not process.lost


def test_its_number_is_nobody_elses_before_its_end_was_heard(warm, tmp_path):
    process = begin(warm, "", tmp_path / "out")
    assert wait_until(lambda: not is_alive(process.pid), timeout_s=60)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    process.wait(60)
    assert wait_until(lambda: not psutil.pid_exists(process.pid), timeout_s=60)


def test_who_still_runs_is_waited_for_within_a_limit_and_can_be_ended(warm, tmp_path):
    process = begin(warm, "import time; time.sleep(600)", tmp_path / "out")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM


def test_who_is_waited_for_by_nobody_is_ended(warm, tmp_path):
    process = begin(warm, "import time; time.sleep(600)", tmp_path / "out")
    pid = process.pid
    del process
    assert wait_until(lambda: not psutil.pid_exists(pid), timeout_s=60)


def test_a_warm_process_that_was_killed_is_replaced_and_takes_its_own_along(warm, tmp_path):
    first = output(warm, PARENT, tmp_path)
    running = begin(warm, "import time; time.sleep(600)", tmp_path / "out")
    os.kill(int(first), signal.SIGKILL)
    assert (running.wait(60), running.lost) == (-signal.SIGKILL, True)
    assert wait_until(lambda: not is_alive(running.pid), timeout_s=60)
    assert output(warm, PARENT, tmp_path) != first
    assert not psutil.pid_exists(int(first))  # collected


def test_a_warm_process_that_cannot_start_is_told(make, tmp_path):
    (tmp_path / "ends_at_import.py").write_text("import os; os._exit(3)")
    with pytest.raises(WarmLost):
        begin(make("ends_at_import"), "", tmp_path / "out")


def test_a_module_that_cannot_be_imported_is_left_to_who_needs_it(make, tmp_path):
    assert output(make("no_module_of_that_name"), "print('there')", tmp_path) == "there"


def test_a_fork_of_the_parent_has_a_warm_process_of_its_own(warm, tmp_path):
    ours = output(warm, PARENT, tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            (tmp_path / "theirs").write_text(output(warm, PARENT, tmp_path))
            warm.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / "theirs").read_text() not in {"", ours}
    assert output(warm, PARENT, tmp_path) == ours


def test_it_ends_when_nothing_is_asked_of_it_and_comes_back(make, tmp_path):
    warm = make(idle_s=0.05)
    first = output(warm, PARENT, tmp_path)
    assert wait_until(lambda: not is_alive(int(first)), timeout_s=60)
    assert output(warm, PARENT, tmp_path) != first


def test_it_ends_with_its_parent(tmp_path):
    script = f"""
import os, sys
from pathlib import Path
from helios.warm import WarmProcess
warm = WarmProcess((), environ={{"PYTHONPATH": {str(ROOT)!r}}}, folder=Path({str(tmp_path)!r}))
code = "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(600)"
kept = warm.start(["-c", code], environ={{}}, folder=Path("/"), stdout=1, stderr=2)
os.kill(os.getpid(), 19)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        pids = [int(each) for each in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert wait_until(lambda: not any(map(is_alive, pids)), timeout_s=60)


def test_code_of_ours_that_changed_is_never_run_as_it_was(make, tmp_path):
    module = tmp_path / "ours_of_this_test.py"
    module.write_text("SAYS = 'old'")
    warm = make("ours_of_this_test")
    code = "import os, ours_of_this_test; print(ours_of_this_test.SAYS, os.getppid())"
    environ = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    said, first = output(warm, code, tmp_path, environ=environ).split()
    running = begin(warm, "import sys; sys.stdin.read(); import time; time.sleep(600)", tmp_path / "out")
    module.write_text("SAYS = 'new, and longer'")
    os.utime(module, ns=(0, 0))
    assert said == "old"
    assert output(warm, code, tmp_path, environ=environ).startswith("new, and longer")
    assert running.poll() is None  # what began before goes on
    running.terminate()
    assert running.wait(60) == -signal.SIGTERM
    assert wait_until(lambda: not is_alive(int(first)), timeout_s=60)


def test_it_has_the_descriptors_it_was_handed_and_no_other(warm, tmp_path):
    running = begin(warm, "import time; time.sleep(600)", tmp_path / "out")
    listed = "import os; print(*sorted(os.listdir('/proc/self/fd')))"
    *own, _listing = output(warm, listed, tmp_path).split()
    assert own == ["0", "1", "2"]
    reader, writer = os.pipe()
    output(warm, "import os; os.write(3, b'handed')", tmp_path, handed=writer)
    os.close(writer)
    assert os.read(reader, 100) == b"handed"
    assert os.read(reader, 100) == b""  # nobody else holds the other end
    os.close(reader)
    running.terminate()
    running.wait(60)


def test_it_has_the_environment_the_path_and_the_folder_of_a_cold_start(warm, tmp_path):
    (tmp_path / "folder").mkdir()
    code = "import os, sys; print(sorted(os.environ.items()), sys.path, os.getcwd(), os.getsid(0) == os.getpid())"
    cold = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path / "folder",
        env=(environ := {"PYTHONPATH": f"{ROOT}:{tmp_path / 'folder'}", "MARK": "1234"}),
        start_new_session=True,
        capture_output=True,
        check=True,
        text=True,
    )
    seen = output(warm, code, tmp_path, environ=environ, folder=tmp_path / "folder")
    assert seen == cold.stdout.strip()


def test_the_kernel_shows_its_own_mark_also_of_those_it_forks(make, tmp_path):
    code = (
        "import os; child = os.fork(); print(open('/proc/self/environ').read().count('MARK=1234'), flush=True)\n"
        "if child: os.wait()"
    )
    assert output(make(mark="MARK"), code, tmp_path).split() == ["1", "1"]


def test_random_numbers_are_fresh(make, tmp_path):
    warm = make("numpy.random", "random")
    code = "import numpy, random; print(numpy.random.random(), random.random(), sep='\\n')"
    drawn = [number for _ in range(2) for number in output(warm, code, tmp_path).split()]
    assert len(set(drawn)) == 4
