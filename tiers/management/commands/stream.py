"""`manage.py stream`: hear a venue's market, and store its bars as they close."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import close_old_connections
from loguru import logger

from helios import flags
from helios.db.failures import UNAVAILABLE
from helios.env import get_env
from helios.errors import Rejected, Transient, error_text
from helios.liveness import settle
from helios.plain_command import PlainCommand
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.live import relay
from tiers.live.feed import wanted
from tiers.live.feed.session import Session
from tiers.live.work_lock import WorkLock
from trading.venues.registry import STREAMED, market_data, streams

LOOK_S = 5.0  # between looks at which instruments books trade
SAY_S = 60.0
ALIVE = "stream.alive"
PAUSE_S = 10.0  # where the venue does not say which pairs it has
LONG_PAUSE_S = 60.0  # where it refuses, as without a key
Say = Callable[[str], None]  # to the person at the terminal


class Command(PlainCommand):
    help = "Hear the venue's market, and store the bars of a minute and above as they close, until it is told to end."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--exchange",
            help=f"{', '.join(STREAMED)}, or any of ccxt, as binance, which is asked each minute; "
            f"default: {' and '.join(STREAMED)}, with --pairs {STREAMED[0]}",
        )
        parser.add_argument(
            "--pairs", nargs="+", metavar="PAIR", help="such as BTC-ZAR; default: what active books trade there"
        )

    def handle(self, **options: Any) -> None:
        of_a_stack = os.environ.get("HELIOS_COMPONENT")  # whose console is for what needs somebody
        asyncio.run(_until_told(options["exchange"], options["pairs"], (lambda _: None) if of_a_stack else self._say))

    def _say(self, sentence: str) -> None:
        self.stdout.write(printable(sentence))
        self.stdout.flush()


async def _until_told(exchange: str | None, given: list[str] | None, say: Say) -> None:
    """Stream until a signal asks for the end; what has closed by then is written."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, asked.set)
    named: dict[str, list[str] | None] = dict.fromkeys(STREAMED)
    if exchange or given:
        one = exchange or STREAMED[0]
        named = {one: _names(one, given)}
    relaying = threading.Thread(target=relay.keep_telling, args=(stop := threading.Event(),))
    relaying.start()
    telling = asyncio.create_task(asyncio.to_thread(relaying.join))
    settle()
    streaming = [asyncio.create_task(_stream(*each, say)) for each in named.items()]
    ending = asyncio.create_task(asked.wait())
    await asyncio.wait([*streaming, ending, telling], return_when=asyncio.FIRST_COMPLETED)
    fell_silent = telling.done()
    ending.cancel()
    stop.set()
    await telling
    failed = [task for task in streaming if task.done()]
    for task in streaming:
        task.cancel()
    await asyncio.gather(*streaming, return_exceptions=True)
    for task in failed:
        task.result()
    if fell_silent:
        raise Transient("the relay to the event bus ended by itself")
    logger.info("feed.ended")


def _names(exchange: str, given: list[str] | None) -> list[str] | None:
    """The instruments that a person means; None: what books trade. Raises: as `market_data` and `names`."""
    with market_data(exchange, get_env()) as venue:
        return wanted.names(venue, given) if given else None


async def _stream(exchange: str, names: list[str] | None, say: Say) -> None:
    """Hear the pairs that are wanted, and anew when others are, or when a flag chooses another way."""
    alone, chosen, waits = WorkLock("feed"), _Chosen(), False
    bus = relay.bus()
    while True:
        chosen = await asyncio.to_thread(_chosen, exchange, names, alone, chosen)
        if not chosen.symbols:
            if not waits:
                why = "" if names else "no active book trades there, or "
                say(f"Nothing to hear at {exchange} now: {why}another process hears it already. Waiting.")
            waits = True
            await asyncio.sleep(LOOK_S)
            continue
        try:
            with market_data(exchange, get_env()) as venue:
                pairs = await asyncio.to_thread(wanted.pairs, venue, chosen.symbols, strict=names is not None)
                lines = streams(exchange, get_env(), pairs, chosen.by_change) if chosen.streaming else [(None, pairs)]
                sessions = [Session(venue, line, of_it, bus) for line, of_it in lines]
                waits = False
                await _hear(sessions, chosen, partial(_chosen, exchange, names, alone, chosen), say)
        except (Transient, Rejected) as error:  # what books want may be had later, what a person wants is refused now
            if names and isinstance(error, Rejected):
                raise
            logger.bind(venue=exchange, error=error_text(error)).warning("feed.begins_anew")
            await asyncio.sleep(PAUSE_S if isinstance(error, Transient) else LONG_PAUSE_S)


async def _hear(sessions: list[Session], chosen: _Chosen, look: Callable[[], _Chosen], say: Say) -> None:
    """Run the sessions until something else is chosen than now, or one of them fails."""
    running = [asyncio.create_task(each.run()) for each in sessions]
    say(f"Hearing {', '.join(pair.symbol for each in sessions for pair in each.pairs)}; Ctrl-C ends it.")
    said, stored = time.monotonic(), 0
    try:
        while not any(each.done() for each in running) and await asyncio.to_thread(look) == chosen:
            await asyncio.wait(running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if time.monotonic() - said >= SAY_S:
                before, stored, said = stored, sum(each.n_stored for each in sessions), time.monotonic()
                say(f"{stored - before} bars stored in a minute")
    finally:
        for each in running:
            each.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which instruments this process streams, and how."""

    symbols: tuple[str, ...] = ()
    streaming: bool = True
    by_change: frozenset[str] = frozenset()


def _chosen(exchange: str, names: list[str] | None, alone: WorkLock, before: _Chosen) -> _Chosen:
    """What is wanted now; each look is a sign of life for whoever watches the process.

    While the database is away nothing is wanted otherwise than `before`.
    """
    (get_env().var_dir / ALIVE).touch()
    try:
        flags.refresh_if_behind()
        symbols = tuple(alone.hold(names or wanted.by_books(exchange.upper())))
        by_change = frozenset(s for s in symbols if flags.is_enabled("websocket_v2", flags.FlagContext(symbol=s)))
        return _Chosen(symbols, flags.is_enabled("websocket_streaming"), by_change)
    except UNAVAILABLE as error:
        logger.bind(error=error_text(error)).warning("feed.not_looked")
        return before
    finally:
        close_old_connections()
