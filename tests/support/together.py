"""Several threads at the same work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(work: Callable[[Any], T], given: Iterable[Any]) -> list[T]:
    """What `work` gives back for each, in threads that begin together; raises what the first of them raised."""
    each = list(given)
    together = threading.Barrier(len(each))

    def begin(one: Any) -> T:
        together.wait(60)
        try:
            return work(one)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(each)) as threads:
        return list(threads.map(begin, each))
