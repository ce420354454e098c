"""The lease of a swap: as long as its owner renews it, nobody takes that one for dead."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now
from loguru import logger

from helios.errors import error_text
from helios.modules.models import OPEN_SWAPS, ModuleSwap

LEASE_S: Final = 20.0  # without a renewal for so long, a swap's owner counts as dead
RENEW_S: Final = 4.0
log = logger.bind(component="modules")


class Lease:
    """Renews a swap's lease from a thread of its own while its owner is at work."""

    def __init__(self, swap_id: int) -> None:
        self._swap_id, self._done = swap_id, threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"swap-{swap_id}-lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            until = Now() + timedelta(seconds=LEASE_S)
            try:
                ModuleSwap.objects.filter(pk=self._swap_id, state__in=OPEN_SWAPS).update(expires_at=until)
            except DatabaseError as error:  # tried again in time, or the lease runs out
                log.bind(swap=self._swap_id, error=error_text(error)).warning("modules.lease_not_renewed")
            finally:
                connection.close()
