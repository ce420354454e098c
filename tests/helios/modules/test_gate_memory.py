"""Memory that a gate process takes where no limit of the kernel counts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import psutil
import pytest

from helios.modules.gate import namespaces, process_tree
from tests.helios.modules.test_gate_sandbox import LIMITS, gate, messages, outcomes  # noqa: F401 - a fixture
from tests.helios.modules.test_gate_walls import RUN
from tests.support.places import ROOT


def test_memory_that_no_kernel_limit_counts_is_watched(gate):  # noqa: F811
    source = """
        import os, time
        def run(value):
            for _ in range(8):  # the limit is one for each process
                if not os.fork():
                    kept = []
                    while len(kept) < 6:
                        kept.append(b"x" * 50_000_000)
                        time.sleep(0.02)
                    time.sleep(10)
            time.sleep(10)
    """
    ended = gate(source, memory_mb=400)
    assert ended.kind == "killed"
    assert ended.reason.startswith("it may use 400 MB of memory, used ")
    assert outcomes(ended)["before"] == "passed"


BESIDE = """
    import os, time
    def run(value):
        own = int(open("/proc/self/statm").read().split()[1]) * 4096
        n_mb = {limit} - own // 2**20 - 30
        held, one = b"x" * (n_mb * 2**20), b"x" * 2**20
        time.sleep(0.5)  # seen, and not too much
        {more}
        time.sleep(10)
"""
KEPT = {  # what no process holds
    "files": """for each in ("/dev/shm", os.environ["TMPDIR"]):
            with open(os.path.join(each, "kept"), "wb") as file:
                for _ in range(50):
                    file.write(one)""",
    "pipes": """for _ in range(8):
            if not os.fork():
                kept = [os.pipe() for _ in range(100)]
                time.sleep(10)""",
    "pipes with a name": """for fork in range(8):
            if not os.fork():
                places = [os.path.join(os.environ["TMPDIR"], f"{fork}-{each}") for each in range(100)]
                for place in places:
                    os.mkfifo(place)
                kept = [os.open(place, os.O_RDWR) for place in places]
                time.sleep(10)""",
    "links": """for each in ("/dev/shm", os.environ["TMPDIR"]):
            for number in range(8_000):
                os.symlink("x" * 100, os.path.join(each, str(number)))""",
}


FILLED = {
    "files": """for number in range(20):
            with open(f"{os.environ['TMPDIR']}/{number}", "wb") as file:
                file.write(bytes(60 << 20))""",
    "files that are gone": """kept = []
        for number in range(20):
            kept.append(open(f"{os.environ['TMPDIR']}/{number}", "wb"))
            os.unlink(f"{os.environ['TMPDIR']}/{number}")
            kept[-1].write(bytes(60 << 20))""",
    "a closed folder": """os.mkdir("closed", 0o300)
        kept = [open(f"closed/{number}", "wb") for number in range(20)]
        for each in kept:
            each.write(bytes(60 << 20))""",
    "folders in each other": """for _ in range(1_500):
            os.mkdir("deep")
            os.chdir("deep")""",
    "names that no call takes": """for _ in range(17):
            os.mkdir("x" * 250)
            os.chdir("x" * 250)
        for number in range(20):
            with open(str(number), "wb") as file:
                file.write(bytes(60 << 20))""",
    "files that nobody may look at": """import ctypes
        ctypes.CDLL(None).prctl(4, 0)
        kept = []
        for number in range(20):
            kept.append(open("filled", "wb"))
            os.unlink("filled")
            kept[-1].write(bytes(60 << 20))""",
    "files that are only mapped": """import ctypes
        for number in range(20):
            with open("filled", "wb+") as file:
                file.write(bytes(60 << 20))
                file.flush()
                os.unlink("filled")
                ctypes.CDLL(None).mmap(None, 4096, 1, 2, file.fileno(), 0)""",
}


@pytest.mark.parametrize("more", FILLED)
def test_what_it_writes_where_a_container_allows_no_namespaces_counts_as_well(tmp_path, more):
    source = tmp_path / "hostile.py"
    text = f"""
    import os, time
    def run(value):
        {FILLED[more]}
        time.sleep(60)
    """
    source.write_text(textwrap.dedent(text))
    tmp_path.chmod(0o777)
    given = {"root": str(ROOT), "mode": "container", "reachable": True, "source": str(source), "folder": str(tmp_path)}
    place = tmp_path / "temporary"
    place.mkdir()
    place.chmod(0o777)
    environ = {**os.environ, "TMPDIR": str(place)}
    words = [sys.executable, "-c", RUN.format(**given)]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    ended = json.loads(done.stdout.splitlines()[-1])
    assert set(namespaces.FLAGS) <= set(ended["lacking"])
    assert ended["kind"] == "killed"
    assert ended["reason"].startswith("it may use 512 MB of memory, used ")
    assert list(place.glob("helios-gate-*")) == []


@pytest.mark.parametrize("more", KEPT)
def test_what_the_kernel_keeps_for_it_counts_as_memory(gate, more):  # noqa: F811
    ended = gate(BESIDE.format(limit=LIMITS.memory_mb, more=KEPT[more]))
    assert outcomes(ended)["before"] == "passed"
    assert ended.reason.startswith("it may use 512 MB of memory, used ")


def test_files_in_memory_have_a_number(gate):  # noqa: F811
    source = """
        import os
        def run(value):
            for number in range(9_000):
                os.symlink("x", os.path.join(os.environ["TMPDIR"], str(number)))
    """
    ended = gate(source)
    if "file namespace" not in (ended.said.lacking or ()):
        assert "No space left on device" in messages(ended)["runs"]


def test_no_pipe_is_made_larger(gate):  # noqa: F811
    ended = gate("import fcntl, os\ndef run(value):\n    fcntl.fcntl(os.pipe()[0], fcntl.F_SETPIPE_SZ, 2**20)\n")
    if "seccomp" not in (ended.said.lacking or ()):
        assert "Operation not permitted" in messages(ended)["runs"]


def test_the_tables_of_what_is_only_read_count_as_memory(gate):  # noqa: F811
    source = """
        import mmap, time
        def run(value):
            held = mmap.mmap(-1, 2**38, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
            for place in range(0, 2**38, 2**21):
                held[place]
            time.sleep(60)
    """
    ended = gate(source, memory_mb=400)
    assert ended.reason.startswith("it may use 400 MB of memory, used ")


def test_who_goes_on_without_his_first_thread_is_counted_and_measured(gate):  # noqa: F811
    source = """
        import ctypes, os, threading, time
        def fill():
            kept = []
            while len(kept) < 8:
                kept.append(b"x" * 50_000_000)
                time.sleep(0.02)
            time.sleep(30)
        def run(value):
            for _ in range({n}):
                if not os.fork():
                    threading.Thread(target={what}).start()
                    ctypes.CDLL(None).syscall(60, 0)
            time.sleep(10)
    """
    ended = gate(source.format(n=2, what="fill"), memory_mb=400)
    assert ended.reason.startswith("it may use 400 MB of memory, used "), ended
    ended = gate(source.format(n=30, what="lambda: time.sleep(30)"), memory_mb=4_000)
    assert ended.reason.startswith("it may run "), ended


def test_what_the_kernel_tells_of_it_is_read_to_a_bound(gate):  # noqa: F811
    source = """
        import ctypes, os, time
        def run(value):
            for _ in range(40):
                os.mkdir("x" * 250)
                os.chdir("x" * 250)
            mapped = os.open("mapped", os.O_RDWR | os.O_CREAT)
            os.write(mapped, bytes(4096))
            for _ in range(400):
                ctypes.CDLL(None).mmap(None, 4096, 1, 2, mapped, 0)
            time.sleep(20)
    """
    ended = gate(source)
    assert ended.reason == "each of its processes must let itself be looked into, and was ended"


def test_a_process_that_may_not_be_looked_into_is_told_after_some_looks(tmp_path, monkeypatch):
    first = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        family = process_tree.ProcessTree(os.getpid(), "a-token", tmp_path)
        monkeypatch.setattr(family, "_members", lambda: [psutil.Process(first.pid)])
        monkeypatch.setattr(process_tree, "_closed", lambda _: True)
        assert [family.use().hidden for _ in range(7)] == [False] * 5 + [True] * 2
    finally:
        first.kill()
        first.wait()
