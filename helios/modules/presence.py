"""Which processes load modules now: rows that they renew, and that count for nothing once they are old."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db.models import QuerySet
from django.db.models.functions import Now

from helios import liveness
from helios.db.lengths import long_fields
from helios.modules.models import ModuleProcess

HEARTBEAT_S: Final = 3.0
STALE_S: Final = 15.0  # not heard of for so long: dead
FORGET_S: Final = 120.0  # rows of the dead are removed then
KEPT_ANSWERS: Final = 8


def host() -> str:
    """This machine, as presence rows name it."""
    return socket.gethostname()[:128]


def enter(component: str, *, generation: int = 0) -> uuid.UUID:
    """Write this process down; returns the id of its row."""
    row = ModuleProcess.objects.create(
        id=uuid.uuid4(), host=host(), pid=os.getpid(), component=component[:32], generation=generation, seen_at=Now()
    )
    return row.id


def beat(process: uuid.UUID, *, generation: int, loaded: Sequence[str]) -> bool:
    """Say that this process lives; False when its row is gone, because it was silent for too long."""
    changed = ModuleProcess.objects.filter(pk=process).update(
        seen_at=Now(), generation=generation, loaded=[name[:160] for name in loaded]
    )
    return changed == 1


def answer(process: uuid.UUID, swap_id: int, error: str | None) -> None:
    """Say that a swap's version is ready here, or with `error`, why it is not; None: that it is being loaded."""
    row = ModuleProcess.objects.filter(pk=process).first()
    if row is None:
        return
    answers = {**row.prepared, str(swap_id): error}
    newest = sorted(answers, key=int)[-KEPT_ANSWERS:]
    ModuleProcess.objects.filter(pk=process).update(prepared={key: answers[key] for key in newest}, seen_at=Now())


def lost_while_loading(swap_id: int) -> list[ModuleProcess]:
    """Those that ended, or were not heard of any more, while they loaded the version of a swap."""
    here = set(live())
    return [row for row in _rows().filter(prepared__contains={str(swap_id): None}) if row not in here]


def calling(process: uuid.UUID, swap_id: int | None) -> None:
    """Say which switch's watched call this process is in, so that its death in there is seen; None: in none."""
    ModuleProcess.objects.filter(pk=process).update(calling=swap_id)


def died_calling() -> list[tuple[int, str]]:
    """The switches in whose watched calls processes died, and which; their rows are removed, so each is told once."""
    died = []
    for row in _rows().exclude(calling=None):
        silent = not ModuleProcess.objects.filter(pk=row.pk, seen_at__gte=Now() - timedelta(seconds=STALE_S)).exists()
        if (silent or process_gone(row.host, row.pid)) and ModuleProcess.objects.filter(pk=row.pk).delete()[0]:
            died.append((int(row.calling or 0), str(row)))
    return died


def leave(process: uuid.UUID) -> None:
    """Take the row away: the process ends in order."""
    ModuleProcess.objects.filter(pk=process).delete()


def live(*, answers: bool = False) -> list[ModuleProcess]:
    """The processes that were heard of lately; one of this machine whose process is gone is dead at once.

    `answers`: with what each has answered to swaps.
    """
    rows = ModuleProcess.objects.all() if answers else _rows()
    fresh = rows.filter(seen_at__gte=Now() - timedelta(seconds=STALE_S))
    return [row for row in fresh if not process_gone(row.host, row.pid)]


def clean() -> int:
    """Remove the rows of the dead; returns how many."""
    old = ModuleProcess.objects.filter(seen_at__lt=Now() - timedelta(seconds=FORGET_S))
    dead = [row.pk for row in _rows() if process_gone(row.host, row.pid)]
    return old.delete()[0] + ModuleProcess.objects.filter(pk__in=dead).delete()[0]


def _rows() -> QuerySet[ModuleProcess]:
    return ModuleProcess.objects.defer(*long_fields(ModuleProcess))


def owner() -> str:
    """This process, as a swap names its owner."""
    return f"{host()}:{os.getpid()}"


def owner_gone(name: str) -> bool:
    """Whether an owner of this machine is no process any more. Of another machine's, only its lease tells."""
    where, _, pid = name.rpartition(":")
    return pid.isdecimal() and process_gone(where, int(pid))


def process_gone(where: str, pid: int) -> bool:
    """Whether a process of this machine has ended; False for other machines, where nobody here can look."""
    return where == host() and liveness.birth(pid) is None
