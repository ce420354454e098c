"""What a worker's process does before its first task, so that the first cycle is not the slow one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import cast

import numpy as np
from loguru import logger

from helios import flags
from helios.breakers import process as breakers
from helios.errors import error_text
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.modules import swap_worker, watch
from tiers.contracts.protocols import RiskTier
from tiers.live import book_params, cycle_flags, inference, lookback, schedule
from tiers.live.handlers import risk
from trading.market import timeline
from trading.market.calendars import US_EQUITIES, calendar
from trading.models import Book, Stage

SEED, N_BARS = 1, 300


def gpu() -> None:
    """Load every model in charge and run each once, now and whenever another one is.

    One thread: a live cycle has few rows, and cores are shared.
    """
    from tiers.predict import network  # noqa: PLC0415 - torch loads only where models run

    network.prepare_process(threads=1)
    attempt("control plane", lambda: control_plane("neural_network"))
    active_modules([Stage.PREDICT])
    attempt("models", inference.warm)
    swap_worker.run_in_background(inference.warm)


def attempt(what: str, work: Callable[[], object]) -> str:
    """Do a part of warming; returns what went wrong. A process that could not be warmed works all the same, later."""
    try:
        work()
    except BaseException as error:  # whatever it is, the first task will tell
        if told_to_end(error):
            raise
        reason = error_text(error)
        logger.bind(part=what, error=reason).warning("process.not_warmed")
        return f"{what}: {reason}"
    return ""


def control_plane(*breaker_names: str) -> None:
    """Read the flags, the module registry, and the breakers with the state that processes share."""
    flags.refresh_if_behind()
    modules.refresh_if_behind()
    for name in breaker_names:
        breakers.current().circuit(name)


def active_modules(wanted: Iterable[Stage]) -> list[str]:
    """Run the module in use of each stage once on a small market; returns what went wrong, a sentence each.

    Modules are loaded as copies of their own, and so is what numba has compiled of them.
    """
    from tiers.gates.calls import CALLS  # noqa: PLC0415 - only here and in the gate

    def run(stage: Stage) -> None:
        call = CALLS[stage.value](SEED)
        watch.guarded(modules.resolve(stage.value)).run(*call.args, **call.kwargs)

    failures = [failure for stage in wanted if (failure := attempt(stage.value, partial(run, stage)))]
    attempt("watch", watch.flush)
    return failures


def cpu() -> None:
    """Import what is slow to import, compile or load what numba compiles, and fit what the next cycles need."""
    attempt("control plane", lambda: control_plane("llm_api"))
    active_modules(stage for stage in Stage if stage not in (Stage.PREDICT, Stage.DONE))
    days = np.arange(N_BARS).astype("datetime64[D]").astype("datetime64[us]")
    attempt("sessions", lambda: calendar(US_EQUITIES).grid("1d", days[0], days[-1]))
    attempt("books", next_fits)


def next_fits() -> None:
    """Fit the volatility that the next cycle of each active book will ask for, into this process's cache."""
    for book in Book.objects.filter(active=True):
        bar_ts = _next_bar(book)
        if bar_ts is None or not cycle_flags.read(book).garch_volatility:
            continue
        params = book_params.params_of(book)
        tier = cast("RiskTier", watch.guarded(modules.resolve(Stage.RISK.value)))
        wanted = lookback.bars_needed(lookback.tiers_in_use(), params, book.timeframe)
        window = lookback.adjusted(lookback.load(book.symbols, wanted, bar_ts))
        risk.forecast_volatility(tier, window, params, garch=True)


def _next_bar(book: Book) -> datetime | None:
    """The bar that a book decides on next, as far as it is stored; None where there is none."""
    if book.mode == Book.Mode.REPLAY:
        return schedule.next_replayed(book)
    newest = timeline.newest_bar(book.symbols, book.timeframe)
    return None if newest is None else newest.bar_ts
