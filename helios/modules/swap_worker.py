"""How a process that runs tiers takes part in swaps, and no other does, since code is loaded into none but these.

The listener keeps it heard of, and a thread beside loads what swaps ask for.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable

from django.db import Error as DatabaseError
from django.db import connection
from loguru import logger

from helios import outage
from helios.control import news
from helios.errors import error_text
from helios.modules import loading, presence, process, watch
from helios.modules.models import ModuleSwap, ModuleVersion, SwapState
from helios.modules.rows import USABLE

log = logger.bind(component="modules")

Wanted = Callable[[], Iterable[ModuleVersion]]
_wanted: list[Wanted] = []
_background: list[Callable[[], object]] = []


def also_load(wanted: Wanted) -> None:
    """Have every process that runs tasks load what `wanted` names, too, before a task asks for it."""
    if wanted not in _wanted:
        _wanted.append(wanted)


def run_in_background(work: Callable[[], object]) -> None:
    """Have this process do `work` beside its tasks, whenever there is news and every few seconds."""
    if work not in _background:
        _background.append(work)


class SwapWorker:
    """Keeps the process's row alive, and loads the versions that swaps ask for beside the running ones.

    The registry's snapshot is never touched here: it changes at the start of a task, so no task sees two versions.
    """

    def __init__(self, component: str) -> None:
        self._component = component
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._answered: set[int] = set()
        self._refused: set[int] = set()  # versions that could not be loaded ahead: told once, not tried again
        self._row: uuid.UUID | None = None
        self._beaten = 0.0
        self.present = threading.Event()  # set while the process's row is in the table
        self._loader = threading.Thread(target=self._load, name="modules-loader", daemon=True)

    def start(self) -> None:
        """Start loading, and hearing of what is to be loaded."""
        self._loader.start()
        watch.mark_with(self._mark)
        news.follow("modules", news.Follower(on_news=self._wake.set, each_round=self._keep_alive))

    def is_alive(self) -> bool:
        """Whether it loads."""
        return self._loader.is_alive()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End it and take the row away."""
        news.leave("modules")
        self._stopping.set()
        self._wake.set()
        self._loader.join(timeout_s)
        row, self._row = self._row, None
        if row is not None:
            self._asking(lambda: presence.leave(row))

    def _mark(self, swap_id: int | None) -> None:
        """Write down which watched call this process is in, beside the transaction that the caller may be in."""
        row = self._row
        if row is not None:
            writer = threading.Thread(target=self._asking, args=(lambda: presence.calling(row, swap_id),))
            writer.start()
            writer.join()

    def _keep_alive(self) -> None:
        """Renew the row at every few turns of the listener."""
        if time.monotonic() - self._beaten >= presence.HEARTBEAT_S or self._row is None:
            self._asking(self._beat)

    def _beat(self) -> None:
        generation = process.served_generation()
        held = [f"{slot} {digest[:12]}" for slot, digest in loading.loaded()]
        if self._row is None or not presence.beat(self._row, generation=generation, loaded=held):
            self._row = presence.enter(self._component, generation=generation)
            self._answered.clear()
            self._wake.set()
        self._beaten = time.monotonic()
        self.present.set()

    def _load(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._stopping.is_set():
                self._asking(self._prepare)
            if not self._stopping.is_set():
                self._asking(self._load_ahead)
            for work in _background:
                if not self._stopping.is_set():
                    self._asking(work)

    def _prepare(self) -> None:
        """Load the versions that swaps ask for, of those that have passed their tests, whatever else a row says."""
        row = self._row
        if row is None:
            return
        waiting = ModuleSwap.objects.select_related("to_version__module").filter(state=SwapState.PREPARING)
        for swap in waiting.filter(to_version__state__in=USABLE).exclude(pk__in=self._answered):
            presence.answer(row, swap.pk, None)
            presence.answer(row, swap.pk, _loaded(swap.to_version))
            self._answered.add(swap.pk)

    def _load_ahead(self) -> None:
        for version in [each for wanted in _wanted for each in wanted()]:
            known = loading.loaded_copy(version.module.name, version.digest) is not None or version.pk in self._refused
            if version.state in USABLE and not known:
                problem = _loaded(version)
                if problem:
                    self._refused.add(version.pk)
                    log.bind(version=str(version), error=problem).warning("modules.not_loaded_ahead")

    def _asking(self, work: Callable[[], object]) -> None:
        """Run what asks the database, unless it is away.

        An error is logged, for a dead listener would hold up every swap.
        """
        if outage.POSTGRES.away:
            return
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            if not outage.report(error, during="taking part in swaps"):
                log.bind(error=error_text(error)).error("modules.listener_failed")
        finally:
            connection.close()  # a thread that waits for hours between two questions keeps none


def _loaded(version: ModuleVersion) -> str:
    """Load a version beside what runs; empty, or why it cannot be."""
    started = time.perf_counter()
    try:
        process.load_version(version)
    except DatabaseError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the code did, this process goes on
        return error_text(error)
    log.bind(version=str(version), ms=round((time.perf_counter() - started) * 1e3, 1)).info("modules.prepared")
    return ""


_starting = threading.Lock()
_worker: SwapWorker | None = None


def start() -> SwapWorker:
    """Load every active version, so that no task has to, and take part in swaps; once a process, anew after a fork."""
    global _worker  # noqa: PLW0603 - one a process
    process.load_active()
    with _starting:
        if _worker is None or not _worker.is_alive():
            _worker = SwapWorker(os.environ.get("HELIOS_COMPONENT", "process"))
            _worker.start()
        return _worker


def stop() -> None:
    """Stop taking part, and take the row away."""
    global _worker  # noqa: PLW0603
    with _starting:
        if _worker is not None:
            _worker.stop()
            _worker = None


def _after_fork() -> None:
    """Threads and held locks do not survive a fork; the parent's row stays the parent's."""
    global _worker, _starting  # noqa: PLW0603
    _worker = None
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(stop)
