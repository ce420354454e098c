"""What a process starts to hear of changes, and ends with itself: each subject joins with its own."""

from __future__ import annotations

from collections.abc import Callable

from loguru import logger

from helios.errors import error_text

_joined: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}


def join(subject: str, *, start: Callable[[], object], stop: Callable[[], object]) -> None:
    """Have a subject's listener started and stopped with the others."""
    _joined[subject] = start, stop


def start() -> None:
    """Every listener of this process; one that cannot start is logged, and the process works without it."""
    for subject, (begin, _) in _joined.items():
        try:
            begin()
        except Exception as error:  # noqa: BLE001 - the site must come up, if only with what it read itself
            logger.bind(subject=subject, error=error_text(error)).error("control.listener_failed")


def stop() -> None:
    """End them."""
    for _, end in _joined.values():
        end()
