"""A module that means harm, in the real gate: what it tries, and that it gets nowhere, whatever the machine allows.

It is run as this machine has it, by an ordinary user, and as in a container that allows no namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from helios.modules.gate import confinement, namespaces
from helios.modules.gate.sandbox import places
from helios.stack.children import is_alive
from tests.support.places import ROOT

HOSTILE = """
import contextlib, ctypes, fcntl, json, mmap, os, pathlib, resource, select, signal, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
GIVEN = json.loads({given!r})
TRIED = {{}}

def attempt(name, work):
    try:
        TRIED[name] = f"done: {{work()}}"
    except BaseException as error:
        TRIED[name] = f"refused: {{error!r}}"

def asked(*words):
    ctypes.set_errno(0)
    found = libc.syscall(*map(ctypes.c_long, words))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found

def called(name, *words):
    if getattr(libc, name)(*words) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

OWN = os.open("own", os.O_RDWR | os.O_CREAT)
NONE = ctypes.c_ulong()
ACCESS = struct.pack("=I", 2) + b"".join(struct.pack("=HHi", tag, 7, -1) for tag in (1, 4, 32))
RULES = ctypes.create_string_buffer(struct.pack("=Q", 1), 8)
ALLOWING = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000), 8)
FILTER = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(ALLOWING)), 16)

def lock(command, first):
    return fcntl.fcntl(OWN, command, struct.pack("@hhqqi4x", fcntl.F_WRLCK, 0, first, 1, 0))

def meet(family, address):
    with socket.socket(family) as met:
        met.connect(address)

def wrote(place):
    pathlib.Path(place).write_text("planted")

attempt("Unix socket", lambda: meet(socket.AF_UNIX, GIVEN["socket"]))
attempt("abstract socket", lambda: meet(socket.AF_UNIX, "\\0" + GIVEN["abstract"]))
attempt("TCP", lambda: meet(socket.AF_INET, ("127.0.0.1", GIVEN["port"])))
attempt("host of a virtual machine", lambda: meet(socket.AF_VSOCK, (2, 22)))
attempt("secret of var", lambda: pathlib.Path(GIVEN["secret"]).read_text())
attempt("the project's settings", lambda: pathlib.Path(GIVEN["settings"]).read_text())
attempt("passwords of the machine", lambda: pathlib.Path("/etc/shadow").read_text())
attempt("environment of another", lambda: pathlib.Path(f"/proc/{{GIVEN['victim']}}/environ").read_bytes())
attempt("environment of ours", lambda: pathlib.Path(f"/proc/{{GIVEN['ours']}}/environ").read_bytes())
attempt("memory of another", lambda: open(f"/proc/{{GIVEN['victim']}}/mem", "rb").close())
attempt("signal", lambda: os.kill(GIVEN["victim"], signal.SIGKILL))
attempt("signal to ours", lambda: os.kill(GIVEN["ours"], signal.SIGCONT))
attempt("limits of another", lambda: resource.prlimit(GIVEN["victim"], resource.RLIMIT_NOFILE, (3, 3)))
attempt("priority of another", lambda: os.setpriority(os.PRIO_PROCESS, GIVEN["victim"], 19))
attempt("priority of a user", lambda: os.setpriority(os.PRIO_USER, 0, 19))
attempt("mode of a file of ours", lambda: os.chmod(GIVEN["code"].rpartition("/")[0], 0o755))
attempt("its owner", lambda: os.chown(GIVEN["code"].rpartition("/")[0], -1, os.getgid()))
attempt("its times", lambda: os.utime(GIVEN["code"].rpartition("/")[0]))
attempt("its list of access", lambda: os.setxattr(GIVEN["code"].rpartition("/")[0], "system.posix_acl_access", ACCESS))
attempt("lists of access of its own", lambda: os.setxattr(".", "system.posix_acl_default", ACCESS))
attempt("length of a file of ours", lambda: os.truncate(GIVEN["secret"], 0))
attempt("a disk at once", lambda: os.posix_fallocate(OWN, 0, 4096))
attempt("to be looked at by nobody", lambda: called("prctl", 4, 0, 0, 0, 0))
attempt("tables of futexes", lambda: called("prctl", 78, 1, 2, 0, 0))
attempt("processors of another", lambda: os.sched_setaffinity(GIVEN["victim"], {{0}}))
attempt("signal to a thread", lambda: asked({tgkill}, GIVEN["victim"], GIVEN["victim"], 18))
attempt("signals of a descriptor", lambda: fcntl.fcntl(OWN, fcntl.F_SETOWN, GIVEN["victim"]))
attempt("such signals by ioctl", lambda: fcntl.ioctl(OWN, 0x8901, struct.pack("i", GIVEN["victim"])))
attempt("approved module", lambda: wrote(GIVEN["approved"]))
attempt("code of ours", lambda: wrote(GIVEN["code"]))
attempt("library", lambda: wrote(pathlib.Path(os.__file__).with_name("planted.py")))
attempt("folder for all", lambda: wrote(f"/tmp/helios-planted-{{GIVEN['ours']}}"))
attempt("root again", lambda: os.setuid(0))
attempt("ptrace", lambda: asked({ptrace}, 16, GIVEN["victim"], 0, 0))
attempt("namespace", lambda: asked({unshare}, 0x10000000))
attempt("mount", lambda: asked({mount}, 0, 0, 0, 0, 0))
attempt("memory without a limit", lambda: os.memfd_create("hidden"))
attempt("memory that stays when it is in no process's tables", lambda: mmap.mmap(-1, 4096))
attempt("such memory of a device", lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 4096))
attempt("buffers of sockets", socket.socketpair)
attempt("queues of events", lambda: asked({inotify}, 0))
attempt("queues of events of a file system", lambda: asked({fanotify}, 0xE00, 0))
attempt("queues of messages", lambda: called("mq_open", f"/helios-{{os.getpid()}}".encode(), 0o102, 0o600, None))
attempt("tables of descriptors", select.epoll)
attempt("events of asynchronous files", lambda: asked({io_setup}, 1, ctypes.addressof(NONE)))
attempt("locks of parts of a file", lambda: lock(fcntl.F_SETLK, 0))
attempt("locks of parts of an open file", lambda: lock(37, 4))
attempt("leases", lambda: fcntl.fcntl(os.open("leased", os.O_RDONLY | os.O_CREAT), 1024, fcntl.F_RDLCK))
attempt("signals of a folder", lambda: fcntl.fcntl(os.open(".", os.O_RDONLY), 1026, 4))
attempt("timers without end", lambda: [called("timer_create", 0, None, ctypes.byref(NONE)) for _ in range(1_000)])
attempt("rules of Landlock", lambda: asked(444, ctypes.addressof(RULES), 8, 0))
attempt("a filter of its own", lambda: called("prctl", 22, 2, FILTER))
attempt("such a filter by call", lambda: asked({seccomp}, 1, 0, ctypes.addressof(FILTER)))
attempt("key ring", lambda: asked({keyctl}, 0, -3, 0))
attempt("bpf", lambda: asked({bpf}, 0, 0, 0))
attempt("perf", lambda: asked({perf}, 0, 0, 0, 0, 0))
attempt("io_uring", lambda: asked(425, 8, 0))
attempt("memory of another by call", lambda: asked({vm_read}, GIVEN["victim"], 0, 0, 0, 0, 0))
attempt("set-user-id", lambda: subprocess.run(["sudo", "-n", "true"], check=True))
with contextlib.suppress(OSError):  # a memory of its own it may have
    wrote(f"/dev/shm/helios-planted-{{GIVEN['ours']}}")
STATUS = dict(each.split(":", 1) for each in pathlib.Path("/proc/self/status").read_text().splitlines())
HELD = [STATUS[f"Cap{{each}}"].strip() for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
MOUNTS = [each.split() for each in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
WRITABLE = [each[4] for each in MOUNTS if each[4].startswith("/proc") and "ro" not in each[5].split(",")]
GAINED = STATUS["NoNewPrivs"].strip()
TOLD = {{"tried": TRIED, "writable": WRITABLE, "user": os.getuid(), "capabilities": HELD, "no_new_privileges": GAINED}}
print("\\n" + json.dumps(TOLD), flush=True)

if os.fork() == 0:  # two forks, a session of its own, no pipe, no mark, no death with a parent
    os.setsid()
    if os.fork() == 0:
        libc.prctl(1, 0)
        os.closerange(0, 64)
        os.execve("/bin/sleep", [{name!r}, "600"], {{}})
    os._exit(0)
os.wait()

def run(value):
    return value
"""
TRIED = (
    *("Unix socket", "abstract socket", "TCP", "host of a virtual machine", "secret of var", "the project's settings"),
    *("passwords of the machine", "environment of another", "environment of ours", "memory of another", "signal"),
    *("signals of a descriptor", "such signals by ioctl"),
    *("priority of a user", "mode of a file of ours", "its owner", "its times", "its list of access"),
    *("lists of access of its own", "tables of futexes", "length of a file of ours", "a disk at once"),
    "to be looked at by nobody",
    *("limits of another", "priority of another", "processors of another", "signal to a thread"),
    *("signal to ours", "approved module", "code of ours", "library", "folder for all", "root again", "ptrace"),
    *(
        "memory without a limit",
        "memory that stays when it is in no process's tables",
        "such memory of a device",
        "buffers of sockets",
        "queues of events",
        "queues of events of a file system",
        "queues of messages",
        "tables of descriptors",
        "events of asynchronous files",
        "locks of parts of a file",
        "locks of parts of an open file",
        "leases",
        "signals of a folder",
        "timers without end",
        "rules of Landlock",
        "a filter of its own",
        "such a filter by call",
        "namespace",
        "mount",
        "key ring",
        "bpf",
        "perf",
        "io_uring",
        "memory of another by call",
        "set-user-id",
    ),
)
RUN = """
import json, os, struct, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from helios.modules.gate import kernel, sandbox, seccomp
from tests.helios.modules.test_gate_sandbox import LIMITS, job, outcomes
if {mode!r} == "ordinary user" and os.geteuid() == 0:
    if {reachable}:
        os.setgroups([]); os.setgid(4711); os.setuid(4711)
    else:  # nobody else may read the code: root, but with no privilege except that of calling itself root inside
        may = 1 << 31
        kernel.call("capset", struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", may, may, 0, 0, 0, 0))
if {mode!r} == "container":
    seccomp.REFUSED = ("unshare", "setns", "mount", "pivot_root", "open_tree", "fsopen", "mount_setattr")
    seccomp.COMMANDS = seccomp.ALLOWED = {{}}
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.restrict(signals_to=None)
ended = sandbox.run("helios.modules.gate", job(Path({source!r}).read_text(), Path({folder!r})), limits=LIMITS)
print(json.dumps({{"kind": ended.kind, "reason": ended.reason, "lacking": ended.said.lacking,
                   "outcomes": outcomes(ended), "output": ended.output}}))
"""


@dataclass(frozen=True, slots=True)
class Raid:
    """One run of the hostile module, as seen from outside and as it tells itself."""

    mode: str
    outcome: dict
    told: dict
    folder: Path
    victim: subprocess.Popen
    sleeper: str


def numbers() -> dict[str, int]:
    names = {"ptrace": "ptrace", "unshare": "unshare", "mount": "mount", "keyctl": "keyctl", "bpf": "bpf"}
    return {name: confinement.kernel.NUMBERS[call] for name, call in {**names, **OTHERS}.items()}


OTHERS = {"perf": "perf_event_open", "vm_read": "process_vm_readv", "inotify": "inotify_init1"}
OTHERS |= {"tgkill": "tgkill", "fanotify": "fanotify_init", "io_setup": "io_setup", "seccomp": "seccomp"}


def reachable_by_others() -> bool:
    wanted = [Path(each) for each in (*places(("helios", "tests")), sys.executable)]
    return all(parent.stat().st_mode & 0o1 for each in wanted if each.exists() for parent in each.parents)


@pytest.fixture(scope="module", params=["this machine", "ordinary user", "container"])
def raid(request: pytest.FixtureRequest) -> Iterator[Raid]:
    """The hostile module, with all that it is after within its reach: readable, writable and alive."""
    mode, root = request.param, os.geteuid() == 0
    reachable = reachable_by_others()
    folder = Path(tempfile.mkdtemp(prefix="helios-raid-"))
    alike = (4711 if mode == "ordinary user" else confinement.NOBODY) if root and reachable else os.geteuid()
    victim = subprocess.Popen(["sleep", "600"], env={"ANTHROPIC_API_KEY": "sk-of-another"}, user=alike)
    listening = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET)]
    abstract, sleeper = folder.name, f"{folder.name[-12:]}"
    try:
        for each, address in zip(listening, (f"{folder}/valkey.sock", f"\0{abstract}", ("127.0.0.1", 0)), strict=True):
            each.bind(address)
            each.listen()
        (folder / "var").mkdir()
        (folder / "var" / "secret_key").write_text("a-signing-key")
        (folder / "approved").mkdir()
        given = {
            "socket": f"{folder}/valkey.sock",
            "abstract": abstract,
            "port": listening[2].getsockname()[1],
            "secret": f"{folder}/var/secret_key",
            "settings": str(ROOT / "pyproject.toml"),
            "victim": victim.pid,
            "ours": os.getpid(),
            "approved": f"{folder}/approved/planted.py",
            "code": str(ROOT / "helios" / "planted.py"),
        }
        source = folder / "hostile.py"
        source.write_text(HOSTILE.format(given=json.dumps(given), name=sleeper, **numbers()))
        for each in (folder, *folder.rglob("*")):
            each.chmod(0o777)
        script = RUN.format(root=str(ROOT), mode=mode, reachable=reachable, source=str(source), folder=str(folder))
        environ = {**os.environ, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outcome = json.loads(done.stdout.splitlines()[-1])
        told = next((line for line in outcome["output"].splitlines() if line.startswith('{"tried"')), None)
        assert told, outcome
        yield Raid(mode, outcome, json.loads(told), folder, victim, sleeper)
    finally:
        for each in listening:
            each.close()
        victim.kill()
        victim.wait()
        shutil.rmtree(folder)


def test_the_hostile_module_is_tested_like_any_other(raid: Raid):
    assert raid.outcome["kind"] == "finished", raid.outcome
    assert raid.outcome["outcomes"]["runs"] == "passed"
    assert set(raid.told["tried"]) == set(TRIED)


@pytest.mark.parametrize("what", TRIED)
def test_it_gets_nowhere(raid: Raid, what: str):
    if what == "priority of a user" and raid.mode != "container":
        pytest.skip("its namespace of processes holds nobody else")
    if what == "root again" and "unprivileged user" in raid.outcome["lacking"]:
        pytest.skip("it is root in name, without a privilege, where nobody else may read the code")
    assert raid.told["tried"][what].startswith("refused: "), raid.told["tried"][what]


def test_what_it_was_after_is_as_it_was(raid: Raid):
    assert is_alive(raid.victim.pid)
    in_memory = Path(f"/dev/shm/helios-planted-{os.getpid()}")  # noqa: S108 - it must not be there
    planted = [raid.folder / "approved" / "planted.py", ROOT / "helios" / "planted.py", in_memory]
    assert [each for each in planted if each.exists()] == []


def test_it_has_no_privilege_and_can_gain_none(raid: Raid):
    assert {int(each, 16) for each in raid.told["capabilities"]} == {0}
    assert raid.told["no_new_privileges"] == "1"
    assert (raid.told["user"] == 0) is ("unprivileged user" in raid.outcome["lacking"])


def test_what_the_kernel_is_set_by_is_mounted_to_be_read(raid: Raid):
    if "file namespace" in raid.outcome["lacking"]:
        pytest.skip("its files have no namespace")
    assert raid.told["writable"] == []


def test_nothing_outlives_its_run(raid: Raid):
    assert [each.pid for each in psutil.process_iter(["cmdline"]) if raid.sleeper in (each.info["cmdline"] or ())] == []


def test_walls_that_the_machine_does_not_allow_are_named(raid: Raid):
    lacking = set(raid.outcome["lacking"])
    assert lacking <= set(confinement.WALLS)
    assert (set(namespaces.FLAGS) <= lacking) is (raid.mode == "container")
    assert "seccomp" not in lacking
