"""The system calls that code under test may not make: a filter that the kernel asks before each of them.

It stands beside the namespaces and in for them where a host allows none: without `socket` there is no network and no
socket of a file, without `ptrace` no look into another process, without `kill` (where processes have no namespace of
their own) no signal to it.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable
from typing import Final

from helios.modules.gate import kernel

_NUMBER, _ARCH, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 24, 40  # in `struct seccomp_data`
REFUSED: Final = (
    # sockets, and memory that no limit counts, such as the buffers of a pair of them
    *("socket", "socketpair", "shmget", "semget", "msgget", "memfd_create", "memfd_secret"),
    *("splice", "tee", "vmsplice"),  # pages that are nobody's but a pipe's
    # lists of access: the kernel keeps them for empty files, and they change a mode as `chmod` does
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr"),
    *("removexattrat", "file_setattr"),
    "fallocate",  # takes a disk at once, and no bound of a file holds for it
    # what the kernel keeps for a descriptor, or a filter, without a bound: events that nobody reads, watches, rules
    *("inotify_init", "inotify_init1", "fanotify_init", "epoll_create", "epoll_create1", "mq_open", "io_setup"),
    *("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("mount_setattr", "unshare", "setns", "open_by_handle_at", "quotactl", "acct", "swapon", "reboot", "personality"),
    *("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "kexec_load", "kexec_file_load"),
    *("init_module", "finit_module", "delete_module", "io_uring_setup", "io_uring_enter", "io_uring_register"),
)
_LOCKS: Final = (6, 7, 37, 38)  # commands of `fcntl` that lock a part of a file: each part is a record in the kernel
_SET_LEASE, _NOTIFY, _SET_PIPE_SIZE = 1024, 1026, 1031
_SIGNALLED: Final = (8, 10, 15)  # commands of `fcntl` that say whom a descriptor signals, and by what
_OWNED: Final = (0x8901, 0x8902)  # those of `ioctl`
# The calls of which one argument says whether they may be made: which one it is, and what it may not be.
COMMANDS: Final = {
    "fcntl": (_SECOND_ARGUMENT, (*_LOCKS, *_SIGNALLED, _SET_LEASE, _NOTIFY, _SET_PIPE_SIZE)),
    "ioctl": (_SECOND_ARGUMENT, _OWNED),
}
# Those of which it says what alone may be: names, ends, timers and what is told of a process; later kernels have ever
# more of them, as tables for futexes (78), which no limit counts.
ALLOWED: Final = {"prctl": (_FIRST_ARGUMENT, (1, 2, 3, 15, 16, 21, 23, 29, 30, 36, 37, 38, 39, 0x53564D41))}
# Where processes and files have no namespace of their own: calls about what is another's, and those that may be about
# the caller alone, with the argument that says so by a 0.
ABOUT_OTHERS: Final = (
    *("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "process_madvise", "process_mrelease"),
    *("setpriority", "ioprio_set"),  # which take a 0 for all of a user
    # of files of the same user, wherever they lie
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "truncate"),  # the last one Landlock knows since Linux 6.2
)
ABOUT_ONESELF: Final = {
    **dict.fromkeys(("prlimit64", "migrate_pages", "move_pages"), _FIRST_ARGUMENT),
    **dict.fromkeys(("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"), _FIRST_ARGUMENT),
}
_NAMESPACES: Final = 0x7E020000  # the flags of `clone` that make one

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_SHARED_MEMORY: Final = 0x01 | 0x20  # flags of `mmap` for memory that stays when no process has it in its tables
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32: Final = 0x40000000
_MODE_FILTER: Final = 2

Instruction = tuple[int, int, int, int]


def restrict(*, signals_to: int | None) -> None:
    """Put the filter in force for this process and all that it starts; `PR_SET_NO_NEW_PRIVS` must be set.

    `signals_to`: the only process that a signal may be for, where others could be named. Raises: OSError.
    """
    if not kernel.AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no filter is known for {kernel.MACHINE}")
    code = b"".join(struct.pack("=HBBI", *each) for each in program(signals_to=signals_to))
    kept = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
    kernel.call("prctl", kernel.PR_SET_SECCOMP, _MODE_FILTER, head)


def program(*, signals_to: int | None) -> list[Instruction]:
    """The filter's instructions; it knows one machine, and ends a process that speaks as another."""
    known = kernel.NUMBERS
    return [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, kernel.AUDIT_ARCH),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        *_refusing(REFUSED),
        *([] if signals_to is None else _alone(signals_to)),
        *(each for name in COMMANDS for each in _commanding(name)),
        *(each for name, (place, values) in ALLOWED.items() for each in _only(name, place, *values)),
        (_EQUAL, 0, 5, known["mmap"]),
        (_LOAD, 0, 0, _FOURTH_ARGUMENT),
        (_AND, 0, 0, _SHARED_MEMORY),
        (_EQUAL, 0, 1, _SHARED_MEMORY),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 1, known["clone3"]),  # its flags cannot be seen here; libc then takes `clone`
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 3, known["clone"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _refusing(names: Iterable[str]) -> list[Instruction]:
    return _unless(kernel.NUMBERS[name] for name in names)


def _commanding(name: str) -> list[Instruction]:
    place, commands = COMMANDS[name]
    refused = _unless(commands)
    return [
        (_EQUAL, 0, len(refused) + 2, kernel.NUMBERS[name]),
        (_LOAD, 0, 0, place),
        *refused,
        (_RETURN, 0, 0, _ALLOW),
    ]


def _unless(values: Iterable[int]) -> list[Instruction]:
    """Refuse the call where what was loaded is one of the values."""
    return [each for value in values for each in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | errno.EPERM))]


def _alone(signals_to: int) -> list[Instruction]:
    """Refuse what may be done to other processes."""
    signals = [each for name in ("kill", "tgkill") for each in _only(name, _FIRST_ARGUMENT, signals_to)]
    own = [each for name, place in ABOUT_ONESELF.items() for each in _only(name, place, 0)]
    return [*_refusing(ABOUT_OTHERS), *signals, *own]


def _only(name: str, place: int, *values: int) -> list[Instruction]:
    """Refuse the call but where what it says there is one of the values."""
    n = len(values)
    return [
        (_EQUAL, 0, n + 3, kernel.NUMBERS[name]),
        (_LOAD, 0, 0, place),
        *((_EQUAL, n - number, 0, value) for number, value in enumerate(values)),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
