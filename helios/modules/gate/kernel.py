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

# What `audit.h` calls each machine, and there the numbers of the system calls that we make or refuse (of a call that it
# has in a later form alone, that one's: `chmod` of aarch64 is `fchmodat`). Those from 424 on are the same everywhere.
_AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS: Final = {  # on x86_64, on aarch64
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chmod": (90, 53), "chown": (92, 54),
    "chroot": (161, 51), "clone": (56, 220), "delete_module": (176, 106), "epoll_create": (213, 20),
    "epoll_create1": (291, 20), "fallocate": (285, 47), "fanotify_init": (300, 262), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "fchown": (93, 55), "fchownat": (260, 54), "fcntl": (72, 25),
    "finit_module": (313, 273), "fremovexattr": (199, 16), "fsetxattr": (190, 7), "futimesat": (261, 88),
    "init_module": (175, 105), "inotify_init": (253, 26), "inotify_init1": (294, 26), "io_setup": (206, 0),
    "ioctl": (16, 29), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129), "lchown": (94, 54), "lremovexattr": (198, 15),
    "lsetxattr": (189, 6), "memfd_create": (319, 279), "migrate_pages": (256, 238), "mmap": (9, 222),
    "mount": (165, 40), "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "personality": (135, 92), "pivot_root": (155, 41),
    "prctl": (157, 167), "prlimit64": (302, 261), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "removexattr": (197, 14), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "seccomp": (317, 277), "semget": (64, 190),
    "setns": (308, 268), "setpriority": (141, 140), "setxattr": (188, 5), "shmget": (29, 194), "socket": (41, 198),
    "socketpair": (53, 199), "splice": (275, 76), "swapon": (167, 224), "tee": (276, 77), "tgkill": (234, 131),
    "tkill": (200, 130), "truncate": (76, 45), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
    "utime": (132, 88), "utimensat": (280, 88), "utimes": (235, 88), "vmsplice": (278, 75),
}  # fmt: skip
_EVERYWHERE: Final = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435,
    "pidfd_getfd": 438, "mount_setattr": 442, "landlock_create_ruleset": 444, "landlock_add_rule": 445,
    "landlock_restrict_self": 446, "memfd_secret": 447, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip

MACHINE: Final = os.uname().machine if sys.platform == "linux" else ""
AUDIT_ARCH: Final = _AUDIT.get(MACHINE, 0)
_COLUMN: Final = list(_AUDIT).index(MACHINE) if MACHINE in _AUDIT else None
NUMBERS: Final = {} if _COLUMN is None else {name: each[_COLUMN] for name, each in _CALLS.items()} | _EVERYWHERE

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
