"""`manage.py paper_book`: a new book that trades live market data with paper money."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction

from helios.env import get_env
from helios.errors import DataError
from helios.plain_command import PlainCommand, actor, json_object
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.contracts.parameters import PipelineParams
from tiers.live import book_params, inference
from trading.books import write as books
from trading.market import instruments
from trading.market.timeframes import TIMEFRAMES
from trading.models import Book
from trading.strategies import registry

BOUNDED = (
    "The strategy trades inside the limits of the other tiers, so that it holds less, and nothing that the forecast is "
    "against, and leaves in several bars: a backtest of it alone is of another book."
)


class Command(PlainCommand):
    help = "Make a book that trades what is stored as it comes in (`manage.py stream`), with paper money."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="of the new book")
        parser.add_argument("--symbols", required=True, help="comma-separated, such as VALR:BTC-ZAR")
        parser.add_argument("--timeframe", required=True, choices=[*TIMEFRAMES])
        parser.add_argument(
            "--strategy",
            default=registry.TIERS,
            choices=[registry.TIERS, *registry.STRATEGIES],
            help="default: helios; another wants weights in the place of tier 6, inside the limits of the other tiers",
        )
        parser.add_argument(
            "--params",
            default="{}",
            help='as JSON; of a strategy {"fast": 10, "slow": 30}, of tiers {"execute": {"max_notional": "5000000"}}',
        )
        parser.add_argument("--cash", help="money at the start, in the currency of the symbols")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        book = self._made(options)
        inside = "" if options["strategy"] == registry.TIERS else f" {BOUNDED}"
        said = f"Book {book.name} trades {', '.join(book.symbols)} at {book.timeframe} from the next bar on.{inside}"
        found = {"book": book.name, "symbols": book.symbols, "timeframe": book.timeframe, "active": True}
        self.stdout.write(json.dumps(found) if options["json"] else printable(said))

    def _made(self, options: dict[str, Any]) -> Book:
        env, kept = get_env(), _kept(options["strategy"], json_object("--params", options["params"]))
        drafted = books.draft_book(
            options["name"],
            mode=Book.Mode.PAPER,
            timeframe=options["timeframe"],
            symbols=instruments.listed(options["symbols"]),
            initial_cash=env.initial_cash if options["cash"] is None else _money(options["cash"]),
            fee_bps=Decimal(str(env.fee_bps)),
            slippage_bps=Decimal(str(env.slippage_bps)),
            **kept,
        )
        book_params.params_of(drafted)
        # A strategy, too, buys nothing that no model speaks of: tier 4 allows none of it.
        inference.model_for(drafted, inference.features_in_use(drafted.timeframe))
        with transaction.atomic():
            book = books.add_book(drafted)
            books.set_active(book.name, active=True, actor=actor(), reason="paper_book")
        return book


def _kept(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """A strategy and its parameters as a book keeps them, and those of the tiers, in whose limits it decides."""
    of_tiers = {part.name: given[part.name] for part in fields(PipelineParams) if part.name in given}
    own = {each: value for each, value in given.items() if each not in of_tiers}
    if name == registry.TIERS:
        return {"params": given}
    registry.make(name, own)
    return {"params": of_tiers, "strategy": {"name": name, "params": own}}


def _money(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise DataError(f"--cash must be an amount of money, was {text!r}") from None
