"""Code that does its worst in the gate process: each way has a clear result, and the parent goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from helios.modules import sources
from helios.modules.gate import sandbox
from helios.modules.gate.process_tree import TOKEN, ProcessTree
from helios.modules.gate.sandbox import GateOutcome, Limits
from tests.support.places import ROOT

LIMITS = Limits(time_s=25, test_s=15, memory_mb=512)
GOOD = "def run(value):\n    return value\n"
PATH = "scratch.echo"


def job(source: str, root: Path, *, suites: bool = True) -> dict[str, object]:
    files = {"echo.py": f"VERSION = '1.0.0'\n{textwrap.dedent(source)}".encode()}
    return {
        "name": "echo",
        "version": "1.0.0",
        "path": PATH,
        "digest": sources.digest_of(PATH, files),
        "files": sources.packed(files),
        "code": str(root / "laid_out"),
        "visible": ["helios", "tests"],
        "suites": {"tiny": "tests.support.gate_tiny"} if suites else {},
        "calls": "tests.support.gate_tiny.CALLS",
        "packages": ["helios", "tests"],
        "allowed": ["helios", "scratch"],
        "seed": 3,
    }


@pytest.fixture
def gate(tmp_path: Path):
    def run(source: str, **changes: float) -> GateOutcome:
        limits = Limits(**{**{name: getattr(LIMITS, name) for name in Limits.__slots__}, **changes})
        return sandbox.run("helios.modules.gate", job(source, tmp_path), limits=limits)

    return run


def outcomes(ended: GateOutcome) -> dict[str, str]:
    return {result.name: result.outcome for result in ended.said.results}


def messages(ended: GateOutcome) -> dict[str, str]:
    return {result.name: result.message for result in ended.said.results}


def test_good_code_goes_through_its_required_tests_first(gate):
    ended = gate(GOOD)
    assert (ended.kind, ended.reason) == ("finished", "")
    required = ("loads", "before", "runs", "after", "alone", "slow")
    assert outcomes(ended) == {**dict.fromkeys(required, "passed"), "optional": "failed"}
    assert list(outcomes(ended))[-1] == "optional"
    assert messages(ended)["optional"] == "it should be nice"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit(3)", "could not be imported from scratch.echo: SystemExit: 3"),
        ("def run(:", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("from . import aside", "Helios and libraries, not scratch: put what it needs of that into its own folder"),
        ("raise RuntimeError('no model here')", "RuntimeError: no model here"),
        ("run = 3", "must have run, a function"),
        ("VERSION = '1.0.1'\ndef run(value): ...", "is registered as 1.0.0, but the code in scratch.echo is 1.0.1"),
        ("def run(value): ...\ndef on_load(): raise OSError('disk')", "failed in on_load: OSError: disk"),
    ],
)
def test_code_that_cannot_be_loaded_fails_with_the_reason(gate, source: str, message: str):
    ended = gate(source)
    assert ended.kind == "finished"
    assert outcomes(ended) == {"loads": "failed"}
    assert message in messages(ended)["loads"]


def test_files_that_are_not_those_of_the_digest_are_not_loaded(tmp_path):
    told = job(GOOD, tmp_path)
    told["digest"] = "0" * 64
    ended = sandbox.run("helios.modules.gate", told, limits=LIMITS)
    assert outcomes(ended) == {"loads": "failed"}
    assert "must have the content 000000000000" in messages(ended)["loads"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise BaseException('odd')", "it raised BaseException: odd"),
        ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
        ("import sys; sys.exit(4)", "it raised SystemExit: 4"),
        ("raise ValueError('a' * 5000)", "..."),
        ("raise ValueError('\\ud800\\0')", "it raised ValueError: \ufffd\ufffd"),
        ("return run(value)", "RecursionError"),
        ("return bytearray(2_000_000_000)", "more memory than it may use"),
    ],
)
def test_whatever_run_raises_is_an_error_of_that_test_alone(gate, body: str, message: str):
    ended = gate(f"def run(value):\n    {body}\n")
    assert ended.kind == "finished"
    assert outcomes(ended)["runs"] == "error"
    assert message in messages(ended)["runs"]
    assert len(messages(ended)["runs"]) <= 600
    assert outcomes(ended)["after"] == "passed"


def test_memory_taken_little_by_little_ends_at_the_limit_by_whichever_guard_sees_it_first(gate):
    ended = gate("def run(value):\n    return [bytearray(1_000_000) for _ in range(10_000)]\n")
    if ended.kind == "finished":  # the kernel refused: an error of that test alone
        assert outcomes(ended)["runs"] == "error"
        assert "more memory than it may use" in messages(ended)["runs"]
    else:  # the watch over the whole family was quicker
        assert ended.kind == "killed"
        assert "memory" in ended.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os; os._exit(0)", "its process left with status 0 in the middle of it"),
        ("import ctypes; ctypes.string_at(0)", "its process was ended by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "its process was ended by SIGTERM"),
        ("import os; os.kill(os.getpid(), 40)", "its process was ended by signal 40"),
        ("import os; os.closerange(3, 256); import time; time.sleep(30)", "it closed the pipe"),
        ("import os; os.closerange(3, 256); return value", "its process left with status 71"),
    ],
)
def test_a_crash_in_one_test_keeps_the_results_before_it(gate, body: str, reason: str):
    ended = gate(f"def run(value):\n    {body}\n")
    assert ended.kind == "killed"
    assert reason in ended.reason
    assert outcomes(ended) == {"loads": "passed", "before": "passed"}


@pytest.mark.parametrize("place", ["import", "run"])
def test_code_that_never_ends_is_ended(gate, place: str):
    loop = "while True: pass"
    ended = gate(f"{loop}\n{GOOD}" if place == "import" else f"def run(value):\n    {loop}\n", test_s=1.5)
    assert (ended.kind, ended.reason) == ("timeout", "it must take at most 1.5 s, it was ended then")
    assert "runs" not in outcomes(ended)


def test_a_test_may_ask_for_patience(gate):
    ended = gate(f"import time\ndef wait():\n    time.sleep(2.5)\n{GOOD}", test_s=2)
    assert (ended.kind, outcomes(ended)["slow"]) == ("finished", "passed")


def test_the_whole_run_has_a_limit_of_its_own(gate):
    ended = gate("import time\ndef run(value):\n    time.sleep(60)\n", time_s=2)
    assert (ended.kind, ended.reason) == ("timeout", "the whole run must take at most 2 s, it was ended then")


def test_a_crowd_of_processes_is_ended_to_the_last(gate):
    source = """
        import os, time
        def run(value):
            print(os.environ["HELIOS_GATE_RUN"])
            for _ in range(40):
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(60)
            time.sleep(60)
    """
    ended = gate(source)
    assert ended.kind == "killed"
    assert ended.reason.startswith("it may run 16 processes, ran ")
    assert not carriers(ended.output.strip())


def test_a_crowd_of_threads_is_ended(gate):
    source = """
        import threading, time
        def run(value):
            for _ in range(60):
                threading.Thread(target=time.sleep, args=(60,)).start()
            time.sleep(60)
    """
    ended = gate(source, threads=50)
    assert ended.kind == "killed"
    assert ended.reason.startswith("it may run 50 threads, ran ")


def test_processes_that_code_leaves_behind_end_with_it(gate):
    source = """
        import subprocess
        subprocess.Popen(["sleep", "61.25"], start_new_session=True)
        def run(value):
            subprocess.Popen(["env", "-i", "sleep", "61.5"], start_new_session=True)
            import time
            time.sleep(0.5)
            return value
    """
    ended = gate(source)
    assert ended.kind == "finished"
    assert outcomes(ended)["runs"] == "passed"
    left = [each for each in psutil.process_iter(["cmdline"]) if {"61.25", "61.5"} & set(each.info["cmdline"] or ())]
    assert not left


def test_a_fork_in_the_code_has_no_say(gate):
    ended = gate(f"import os\nos.fork()\n{GOOD}")
    told = [result.name for result in ended.said.results]
    assert ended.kind == "finished"
    assert len(told) == len(set(told)) == 7


def test_garbage_is_kept_out_of_the_results_and_cut(gate):
    source = """
        import os, sys
        print("first words")
        for fd in range(3, 12):
            try:
                os.write(fd, b"garbage {" * 1000 + b"\\n")
            except OSError:
                pass
        for _ in range(40):
            sys.stdout.write("y" * 100_000)
        print("last words")
        def run(value):
            sys.stdout = sys.stderr = None
            return value
    """
    ended = gate(source)
    assert ended.kind == "finished"
    assert outcomes(ended)["runs"] == "passed"
    assert len(ended.output) < sandbox.OUTPUT_BYTES + 100
    assert ended.output.startswith("[")
    assert "bytes left out]" in ended.output
    assert ended.output.rstrip().endswith("last words")


def test_garbage_without_an_end_swallows_no_result(gate):
    """A result that stands behind it on the same line used to be lost, and with it the failure."""
    source = """
        import os
        def scribble():
            for fd in range(3, 32):
                try:
                    os.write(fd, b"x")
                except OSError:
                    pass
        scribble()
        def run(value):
            scribble()
            return value + 1
    """
    ended = gate(source)
    assert ended.kind == "finished"
    assert outcomes(ended)["loads"] == "passed"
    assert outcomes(ended)["runs"] == "failed"


def test_who_leaves_without_a_trace_in_the_last_moment_is_ended_too(tmp_path, monkeypatch):
    """No token, a group of its own, and no look from outside before the end: only its parent tells whose it is."""
    (tmp_path / "leaves.py").write_text("""
import json, os, subprocess, sys
job = json.load(open(sys.argv[1]))
silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
child = subprocess.Popen(["/bin/sleep", "63.5"], env={}, start_new_session=True, **silent)
print(child.pid, flush=True)
words = [{"begin": ["gate", "starts", True]}, {"end": True}]
os.write(job["fd"], "".join(f"{job['token']} {json.dumps(message)}\\n" for message in words).encode())
child.wait()
""")
    monkeypatch.syspath_prepend(tmp_path)
    ended = sandbox.run("leaves", {}, limits=LIMITS)
    assert ended.kind == "finished"
    assert not psutil.pid_exists(int(ended.output)) or not alive(psutil.Process(int(ended.output)))


def test_a_thread_that_never_ends_keeps_nobody(gate):
    ended = gate(f"import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n{GOOD}")
    assert ended.kind == "finished"
    assert ended.duration_ms < 15_000


def test_its_folder_is_gone_afterwards_and_was_its_own(gate):
    ended = gate(
        """
        import os, pathlib
        pathlib.Path("left").write_text("x")
        print(os.getcwd())
        def run(value):
            return value
        """
    )
    assert ended.kind == "finished"
    assert Path(ended.output.strip()).name.startswith("helios-gate-")
    assert not Path(ended.output.strip()).exists()


def test_a_file_cannot_grow_without_end(gate):
    body = "open('big', 'wb').write(b'x' * 3_000_000)"
    ended = gate(f"def run(value):\n    {body}\n", file_mb=1)
    assert outcomes(ended)["runs"] == "error"
    assert "File too large" in messages(ended)["runs"]


def test_the_environment_holds_paths_and_no_secret(monkeypatch, tmp_path):
    for name in ("HELIOS_REDIS_URL", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    made = sandbox.environment("token", str(tmp_path))
    assert "secret" not in made.values()
    assert not [name for name in made if name.startswith("HELIOS_") and name != TOKEN]
    assert str(ROOT) in made["PYTHONPATH"].split(os.pathsep)


def test_a_gate_process_dies_with_its_parent_also_when_it_tells_the_kernel_not_to(tmp_path):
    name = f"undead-{tmp_path.name[-6:]}"
    code = (
        f"import ctypes, time\nset = ctypes.CDLL(None).prctl\nset(1, 0)\nset(15, {name.encode()!r})\ntime.sleep(60)\n"
    )
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from helios.modules.gate import sandbox
from tests.helios.modules.test_gate_sandbox import LIMITS, job
sandbox.run("helios.modules.gate", job({code!r}, Path({str(tmp_path)!r})), limits=LIMITS)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        (child,) = wait_for(lambda: [each for each in psutil.process_iter(["name"]) if each.info["name"] == name])
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_for(lambda: not alive(child))


def test_a_family_remembers_who_left_it(tmp_path):
    token = "a-token-of-this-test"
    script = "import subprocess; subprocess.Popen(['sleep', '62.5'], start_new_session=True).pid"
    first = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, TOKEN: token}, start_new_session=True)
    family = ProcessTree(first.pid, token, tmp_path)
    first.wait()
    assert wait_for(lambda: family.use().processes == 1)
    family.end()
    family.end()
    assert family.use().processes == 0
    assert not carriers(token)


def test_a_family_into_which_nobody_can_look_is_ended_by_its_group(tmp_path, monkeypatch):
    first = subprocess.Popen(["sleep", "600"], start_new_session=True)
    family = ProcessTree(first.pid, "a-token", tmp_path)

    def cannot(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(family, "_members", cannot)
    family.end()
    assert first.wait(10) == -signal.SIGKILL


def carriers(token: str) -> list[int]:
    """Living processes of one run."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get(TOKEN) == token and alive(each):
                found.append(each.pid)
        except psutil.Error:
            continue
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for(condition, timeout_s: float = 15.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found
