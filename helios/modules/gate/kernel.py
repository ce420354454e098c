"""The few calls of Linux that Python has no function for; what the kernel refuses is an `OSError`."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

# By machine: what `audit.h` calls it, and the numbers of the system calls that we make or refuse (of a call that it
# has in a later form alone, that one's). Those from 424 on are the same everywhere.
_AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: Final = {
    "x86_64": {
        "mmap": 9,
        "shmget": 29,
        "socket": 41,
        "socketpair": 53,
        "clone": 56,
        "kill": 62,
        "semget": 64,
        "msgget": 68,
        "fcntl": 72,
        "ptrace": 101,
        "rt_sigqueueinfo": 129,
        "personality": 135,
        "pivot_root": 155,
        "chroot": 161,
        "prctl": 157,
        "acct": 163,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "reboot": 169,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "tkill": 200,
        "chmod": 90,
        "truncate": 76,
        "fallocate": 285,
        "fchmod": 91,
        "chown": 92,
        "fchown": 93,
        "lchown": 94,
        "utime": 132,
        "setxattr": 188,
        "lsetxattr": 189,
        "fsetxattr": 190,
        "removexattr": 197,
        "lremovexattr": 198,
        "fremovexattr": 199,
        "utimes": 235,
        "fchownat": 260,
        "futimesat": 261,
        "utimensat": 280,
        "fchmodat": 268,
        "fchmodat2": 452,
        "ioctl": 16,
        "setpriority": 141,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "sched_setaffinity": 203,
        "tgkill": 234,
        "ioprio_set": 251,
        "migrate_pages": 256,
        "move_pages": 279,
        "prlimit64": 302,
        "sched_setattr": 314,
        "process_madvise": 440,
        "process_mrelease": 448,
        "io_setup": 206,
        "epoll_create": 213,
        "mq_open": 240,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "inotify_init": 253,
        "unshare": 272,
        "splice": 275,
        "tee": 276,
        "vmsplice": 278,
        "epoll_create1": 291,
        "inotify_init1": 294,
        "rt_tgsigqueueinfo": 297,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "open_by_handle_at": 304,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "seccomp": 317,
        "memfd_create": 319,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "io_setup": 0,
        "epoll_create": 20,
        "epoll_create1": 20,
        "fcntl": 25,
        "inotify_init": 26,
        "inotify_init1": 26,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "chroot": 51,
        "quotactl": 60,
        "vmsplice": 75,
        "splice": 76,
        "tee": 77,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "ptrace": 117,
        "kill": 129,
        "tkill": 130,
        "truncate": 45,
        "fallocate": 47,
        "setxattr": 5,
        "lsetxattr": 6,
        "fsetxattr": 7,
        "removexattr": 14,
        "lremovexattr": 15,
        "fremovexattr": 16,
        **dict.fromkeys(("chown", "lchown", "fchownat"), 54),
        "fchown": 55,
        **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), 88),
        "chmod": 53,  # there is none: as `fchmodat`
        "fchmod": 52,
        "fchmodat": 53,
        "fchmodat2": 452,
        "ioctl": 29,
        "setpriority": 140,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122,
        "tgkill": 131,
        "ioprio_set": 30,
        "migrate_pages": 238,
        "move_pages": 239,
        "prlimit64": 261,
        "sched_setattr": 274,
        "process_madvise": 440,
        "process_mrelease": 448,
        "rt_sigqueueinfo": 138,
        "reboot": 142,
        "prctl": 167,
        "mq_open": 180,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "socket": 198,
        "socketpair": 199,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "clone": 220,
        "mmap": 222,
        "swapon": 224,
        "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "open_by_handle_at": 265,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "seccomp": 277,
        "memfd_create": 279,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
    },
}
_EVERYWHERE: Final = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "memfd_secret": 447,
    "setxattrat": 463,
    "removexattrat": 466,
    "file_setattr": 469,
}

MACHINE: Final = os.uname().machine if sys.platform == "linux" else ""
AUDIT_ARCH: Final = _AUDIT.get(MACHINE, 0)
NUMBERS: Final = {**_CALLS[MACHINE], **_EVERYWHERE} if MACHINE in _CALLS else {}

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | str | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A function of libc. Raises: OSError."""
    return _checked(name, getattr(_libc, name)(*map(_passed, arguments)))


def syscall(name: str, *arguments: int | str | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A system call by its name. Raises: OSError, also where this machine's numbers are not known."""
    if name not in NUMBERS:
        raise OSError(38, f"the number of {name} is not known on {MACHINE}")
    return _checked(name, _libc.syscall(ctypes.c_long(NUMBERS[name]), *map(_passed, arguments)))


def prctl(option: int, *values: int) -> int:
    """`prctl`, whose unused arguments must be zero. Raises: OSError."""
    return call("prctl", option, *(*values, 0, 0, 0, 0)[:4])


def _passed(value: int | str | bytes | ctypes.Array[ctypes.c_char] | None) -> object:
    if isinstance(value, int):
        return ctypes.c_ulong(value)
    return os.fsencode(value) if isinstance(value, str) else value


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
