"""`manage.py backtest`: a strategy over stored history, beside buy and hold."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Self

from rich.table import Table

from helios.console import Console
from helios.env import get_env
from helios.plain_command import PlainCommand, json_object
from helios.progress import progress_of
from helios.system_checks import OF_SETTINGS
from tiers.backtest import presentation, runs
from tiers.backtest.exact import Costs, Initial
from tiers.backtest.outcome import Outcome
from tiers.contracts.errors import DataError
from trading.market import instruments
from trading.market.days import parse_range

QUIET_S = 2.0  # shorter work needs no progress
FEW = 10  # steps that are named rather than counted


class Command(PlainCommand):
    help = "Run a strategy over stored bars with fees and slippage, beside buy and hold."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--strategy", default="helios", help=", ".join(runs.STRATEGIES))
        parser.add_argument("--symbols", default="AAPL,GOOG,IBM,MSFT", help="comma-separated")
        parser.add_argument("--timeframe", default="1d", help="1m, 5m, 15m, 1h or 1d")
        parser.add_argument("--timerange", help="20050101-20121231, either side may be left out")
        parser.add_argument("--fee-bps", help="of the traded value; default: HELIOS_FEE_BPS")
        parser.add_argument("--slippage-bps", help="against every fill; default: HELIOS_SLIPPAGE_BPS")
        parser.add_argument("--cash", help="money at the start; default: HELIOS_INITIAL_CASH")
        parser.add_argument("--seed", default="0", help="names the run; the same seed gives the same result")
        parser.add_argument("--fast", help="fast window of sma_cross, in bars; default: 20")
        parser.add_argument("--slow", help="slow window of sma_cross, in bars; default: 50")
        parser.add_argument(
            "--params", default="{}", help='of the tiers, as JSON: {"execute": {"max_notional": "5000000"}}'
        )
        parser.add_argument("--export", type=Path, metavar="FILE", help="write the HTML report there")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        with _Progress(quiet=options["json"]) as progress:
            outcome = runs.run(request_of(options), progress=progress)
        if options["json"]:
            self.stdout.write(json.dumps(outcome.to_json()))
            return
        console = Console()
        with console.capture() as shown:
            console.print(title_of(outcome), soft_wrap=True)
            console.print(table_of(outcome))
            for line in notes_of(outcome, options["export"]):
                console.print(line, soft_wrap=True)
        self.stdout.write(shown.get())


def request_of(options: dict[str, Any]) -> runs.Request:
    """The options as a request; `DataError` names the option that is no number or no range."""
    env = get_env()
    start, end = parse_range(options["timerange"])
    return runs.Request(
        strategy=options["strategy"],
        symbols=tuple(sorted(instruments.listed(options["symbols"]))),
        timeframe=options["timeframe"],
        start=start,
        end=end,
        costs=Costs(
            fee_bps=_number("fee-bps", options["fee_bps"], str(env.fee_bps)),
            slippage_bps=_number("slippage-bps", options["slippage_bps"], str(env.slippage_bps)),
        ),
        initial=Initial(cash=_number("cash", options["cash"], str(env.initial_cash))),
        seed=_integer("seed", options["seed"]),
        windows={name: _integer(name, options[name]) for name in ("fast", "slow") if options[name] is not None},
        export=options["export"],
        params=json_object("--params", options["params"]),
    )


def _number(name: str, text: str | None, default: str) -> Decimal:
    try:
        return Decimal(default if text is None else text)
    except InvalidOperation:
        raise DataError(f"--{name} must be a number, was {text!r}") from None


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"--{name} must be a whole number, was {text!r}") from None


def title_of(outcome: Outcome) -> str:
    """What was run, in a line."""
    result = outcome.result
    return f"{result.strategy} on {', '.join(result.symbols)}, {result.timeframe} bars, {presentation.period(result)}"


def table_of(outcome: Outcome) -> Table:
    """The figures of the strategy, and of what stands beside it."""
    columns = presentation.columns(outcome.result)
    table = Table("")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right", style="" if place else "bold")
    currency = outcome.result.currency
    for key, label in presentation.LABELS.items():
        table.add_row(label, *(presentation.formatted(key, column.get(key), currency) for column in columns.values()))
    return table


def notes_of(outcome: Outcome, export: Path | None) -> list[str]:
    """What a reader of the table has to know."""
    result = outcome.result
    notes = [
        f"seed of this run {result.seed}, {outcome.elapsed_s:.1f} s",
        *outcome.sample_note,
        *outcome.says,
        *result.lead.reasons,
    ]
    if export is not None:
        notes.append(f"report: {export}")
    return notes


class _Progress:
    """A bar on a terminal, now and then a line on anything else; on stderr, and only for longer work."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True)
        self.quiet, self.began, self.said = quiet, time.monotonic(), ("", 0)
        self.bar = progress_of(self.console, counted=True, quiet=quiet)
        self.task = self.bar.add_task("loading", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a report of the engine."""
        tenth = 10 * done // total
        if self.quiet or (what, tenth) == self.said:
            return
        self.said = (what, tenth)
        self.bar.update(self.task, description=what, completed=done, total=total)
        long = time.monotonic() - self.began > QUIET_S
        if long and not self.console.is_terminal and (tenth > 0 or total <= FEW):
            counted = f"{what}: {done} of {total}" if total > FEW else what
            self.console.print(counted)
