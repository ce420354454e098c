"""A thread that shares the successes of circuits which nobody calls any more, so that none waits for a next call."""

from __future__ import annotations

import threading
from collections.abc import Callable

SHARE_S = 0.2  # how long a success stays in its process at most, Redis being there
RETRY_S = 1.0  # between attempts while it is not
IDLE_S = 30.0  # without work the thread ends; the next success starts another


class Sharer:
    """Calls `share` a moment after it was woken, and again every `RETRY_S` as long as that answers False."""

    def __init__(self, share: Callable[[], bool], *, share_s: float = SHARE_S, idle_s: float = IDLE_S) -> None:
        self._share = share
        self._share_s = share_s
        self._idle_s = idle_s
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._running = False

    def wake(self) -> None:
        """There is something to share; cheap, for it is called once a batch."""
        self._woken.set()
        if not self._running:
            self._start()

    def stop(self) -> None:
        """Share nothing from now on."""
        self._stopped.set()
        self._woken.set()

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._running

    def _start(self) -> None:
        with self._starting:
            if not self._running and not self._stopped.is_set():
                self._running = True
                threading.Thread(target=self._run, name="breakers-sharer", daemon=True).start()

    def _run(self) -> None:
        while True:
            if not self._woken.wait(self._idle_s):
                with self._starting:
                    self._running = False  # first: who wakes it from now on starts another
                    if not self._woken.is_set():
                        return
                    self._running = True  # woken in this very moment: stay
            self._woken.clear()
            if self._stopped.wait(self._share_s):
                return
            if not self._share():
                if self._stopped.wait(RETRY_S):
                    return
                self._woken.set()
