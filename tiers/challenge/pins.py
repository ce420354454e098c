"""What a cycle has to do with rollouts at its start and at its end."""

from __future__ import annotations

from typing import Any

from loguru import logger

from helios.errors import error_text
from helios.rollouts import selectors, services
from helios.rollouts.core.assignment import Assignment
from tiers.contracts.errors import HeliosError
from trading.models import Book, PipelineCycle


def pins(book: Book) -> list[dict[str, Any]]:
    """The rollouts under way that concern a cycle of this book, as its row keeps them."""
    try:
        return [one.to_json() for one in selectors.assignments(book.symbols, book=book.name)]
    except HeliosError as error:  # a rollout that cannot be read delivers nothing; the champions trade on
        logger.bind(book=book.name, error=error_text(error)).error("rollouts.unreadable")
        return []


def react(cycle: PipelineCycle) -> None:
    """Let hard guards act on what the cycle has recorded; its end stands whatever comes of that."""
    for rollout_id in {Assignment.from_json(data).rollout_id for data in cycle.rollouts}:
        try:
            services.react(rollout_id)
        except Exception as error:  # noqa: BLE001 - nor do the other rollouts' guards wait for it
            logger.bind(rollout=rollout_id, error=error_text(error)).warning("rollout.not_judged")
