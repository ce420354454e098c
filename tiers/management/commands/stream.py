"""`manage.py stream`: hear a venue's market, and store its bars as they close."""

from __future__ import annotations

import asyncio
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import close_old_connections
from loguru import logger

from helios import flags
from helios.db.failures import UNAVAILABLE
from helios.env import get_env
from helios.errors import HeliosError, Transient, error_text
from helios.plain_command import PlainCommand
from helios.system_checks import OF_SETTINGS
from tiers.live import relay
from tiers.live.alone import Alone
from tiers.live.feed import wanted
from tiers.live.feed.session import Session
from trading.venues.base import Pair
from trading.venues.valr.client import Client
from trading.venues.valr.market import VENUE, Market

LOOK_S = 5.0  # between looks at which instruments books trade
ALIVE = "stream.alive"
PAUSE_S = 10.0  # where the venue does not say which pairs it has


class Command(PlainCommand):
    help = "Hear the venue's market, and store the bars of a minute and above as they close, until it is told to end."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--pairs", nargs="+", metavar="PAIR", help="such as BTC-ZAR; default: what active books trade there"
        )

    def handle(self, **options: Any) -> None:
        try:
            asyncio.run(_until_told(options["pairs"]))
        except HeliosError as error:
            raise CommandError(str(error)) from error


async def _until_told(given: list[str] | None) -> None:
    """Stream until a signal asks for the end; what has closed by then is written."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, asked.set)
    with Market(Client.of(get_env())) as venue:
        names = wanted.names(venue, given) if given else None
        relaying = threading.Thread(target=relay.keep_telling, args=(stop := threading.Event(),))
        relaying.start()
        streaming = asyncio.create_task(_stream(venue, names))
        ending = asyncio.create_task(asked.wait())
        await asyncio.wait([streaming, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        stop.set()
        await asyncio.to_thread(relaying.join)
        if not streaming.done():
            streaming.cancel()
            await asyncio.gather(streaming, return_exceptions=True)
            logger.info("feed.ended")
            return
        streaming.result()


async def _stream(venue: Market, names: list[str] | None) -> None:
    """Hear the pairs that are wanted, and anew when others are, or when a flag chooses another way."""
    alone, chosen = Alone("feed"), _Chosen()
    while True:
        chosen = await asyncio.to_thread(_chosen, names, alone, chosen)
        if not chosen.symbols:
            await asyncio.sleep(LOOK_S)
            continue
        try:
            pairs = await asyncio.to_thread(wanted.pairs, venue, chosen.symbols, strict=names is not None)
        except Transient as error:
            logger.bind(error=error_text(error)).warning("feed.no_pairs")
            await asyncio.sleep(PAUSE_S)
            continue
        session = asyncio.create_task(_session(venue, pairs, chosen).run())
        try:
            while not session.done() and await asyncio.to_thread(_chosen, names, alone, chosen) == chosen:
                await asyncio.wait([session], timeout=LOOK_S)
        finally:
            session.cancel()
            ended = await asyncio.gather(session, return_exceptions=True)
        if isinstance(ended[0], Exception):
            raise ended[0]


def _session(venue: Market, pairs: Sequence[Pair], chosen: _Chosen) -> Session:
    return Session(
        venue, get_env().valr_url, pairs, relay.bus(), streaming=chosen.streaming, by_change=chosen.by_change
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which instruments this process streams, and how."""

    symbols: tuple[str, ...] = ()
    streaming: bool = True
    by_change: frozenset[str] = frozenset()


def _chosen(names: list[str] | None, alone: Alone, before: _Chosen) -> _Chosen:
    """What is wanted now; each look is a sign of life for whoever watches the process.

    While the database is away nothing is wanted otherwise than `before`.
    """
    (get_env().var_dir / ALIVE).touch()
    try:
        flags.refresh_if_behind()
        symbols = tuple(alone.hold(names or wanted.by_books(VENUE)))
        by_change = frozenset(s for s in symbols if flags.is_enabled("websocket_v2", flags.FlagContext(symbol=s)))
        return _Chosen(symbols, flags.is_enabled("websocket_streaming"), by_change)
    except UNAVAILABLE as error:
        logger.bind(error=error_text(error)).warning("feed.not_looked")
        return before
    finally:
        close_old_connections()
