"""How a process lives: whether it still does, what its collector of rubbish looks at, and which errors end it."""

from __future__ import annotations

import gc
import math
import signal
import time
from functools import lru_cache
from pathlib import Path

_STATE, _START_TICKS = 0, 19  # fields 3 and 22 of /proc/<pid>/stat, counted after the program's name
_DEAD = frozenset("ZXx")


def settle() -> None:
    """What is loaded stays: it is not looked through for rubbish any more, nor is what is made at every turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def birth(pid: int) -> str | None:
    """The boot and the kernel's clock tick at which the process began; None when there is none, or a zombie.

    psutil's `create_time` adds the wall clock's idea of the boot to these ticks, and so moves whenever that is set.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in _DEAD else f"{_boot()}:{fields[_START_TICKS]}"


def signal_name(number: int) -> str:
    """`SIGKILL`; `signal 40` for one that Python has no name for, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def told_to_end(error: BaseException) -> bool:
    """Whether an error is this process's own way out, asked for by a signal; a pool process hears no SIGINT."""
    from billiard.common import terminate_handler_fired  # type: ignore[attr-defined]  # noqa: PLC0415 - others run no pool

    if type(error) is KeyboardInterrupt:  # one of another class came by no signal
        return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    return issubclass(type(error), SystemExit) and bool(terminate_handler_fired())


_soft_limit_at = math.inf  # on the monotonic clock


def begin_task(soft_limit_s: float) -> None:
    """A task of this process begins, which a signal interrupts after `soft_limit_s`.

    The pool's clock began a little earlier than ours: a tenth is more than that takes.
    """
    global _soft_limit_at  # noqa: PLW0603 - one task at a time
    _soft_limit_at = time.monotonic() + 0.9 * soft_limit_s


def out_of_time(error: BaseException) -> bool:
    """Whether an error is the soft time limit of the task that runs here: its class anybody may raise, at any time."""
    from billiard.exceptions import SoftTimeLimitExceeded  # noqa: PLC0415 - others run no pool

    return type(error) is SoftTimeLimitExceeded and time.monotonic() >= _soft_limit_at


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # some sandboxes hide it; ticks alone tell the processes of one boot apart
        return ""
