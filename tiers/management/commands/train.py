"""`manage.py train`: a model from stored bars, judged out of sample, registered."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any, Self

from django.core.management.base import CommandError
from rich.table import Table

from helios.console import Console
from helios.plain_command import PlainCommand
from helios.progress import progress_of
from helios.system_checks import OF_SETTINGS
from trading.market import instruments
from trading.market.days import day_of, parse_range

SAMPLE = "AAPL,GOOG,IBM,MSFT"


class Command(PlainCommand):
    help = "Train a model on stored bars: purged walk-forward figures first, then the model that serves."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--symbols", default=SAMPLE, help="comma-separated")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--preset", default="compact")
        parser.add_argument("--seed", type=int, default=7)
        parser.add_argument(
            "--timerange",
            help="like 20050101-20121231; default: the first 70 %% of the history",
        )
        parser.add_argument("--features", metavar="LABEL", help="a version of the features module; default: in use")
        parser.add_argument("--role", choices=["champion", "challenger", "archived"], help="default: champion")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        from tiers.research.train import train_and_register  # noqa: PLC0415 - torch loads only when it is needed

        try:
            with _Shown() as shown:
                result = train_and_register(
                    symbols=instruments.listed(options["symbols"]),
                    timeframe=options["timeframe"],
                    preset=options["preset"],
                    seed=options["seed"],
                    span=None if options["timerange"] is None else parse_range(options["timerange"]),
                    role=options["role"],
                    progress=shown.report,
                    features=options["features"],
                )
        except OSError as error:
            raise CommandError(f"the model cannot be written: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            _show(result)


class _Shown:
    """A bar on a terminal, a line every tenth of the way on anything else; on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = progress_of(self.console)
        self.task = self.bar.add_task("training", total=None)
        self.tenths = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def report(self, done: int, total: int, what: str) -> None:
        self.bar.update(self.task, completed=done, total=total, description=what)
        if not self.console.is_terminal and done * 10 // total > self.tenths:
            self.tenths = done * 10 // total
            self.console.print(f"training: {done} of {total} steps, {what}")


def _show(result: dict[str, Any]) -> None:
    console = Console()
    word = "Reused" if result["reused"] else "Trained"
    from tiers.predict.metrics import LABELS  # noqa: PLC0415 - with numpy

    whose, figures = ("model", "baseline", "persistence"), result["metrics"]
    table = Table("figure, walk-forward of other networks", *(LABELS[who] for who in whose))
    for name in filter(figures["model"].__contains__, LABELS):
        table.add_row(LABELS[name], *(_text(name, figures[who][name]) for who in whose))
    first, last = (day_of(datetime.fromisoformat(result[name])) for name in ("trained_from", "trained_to"))
    console.print(
        f"{word} {result['name']} ({result['role']}) on {', '.join(result['symbols'])} {result['timeframe']}, "
        f"{first} to {last}, seed {result['seed']}"
    )
    console.print(table)
    console.print(
        "docs/figures.md (Figures of training) says how each is computed, and what it does not say.", soft_wrap=True
    )
    if result["role"] == "champion":
        console.print(
            "It serves books of this timeframe and these symbols from their next bar on, unless another champion saw "
            "more of them; --role challenger would keep it aside.",
            soft_wrap=True,
        )
    for note in result["notes"]:
        console.print(note, soft_wrap=True)
    console.print(f"{result['path']}  ({result['elapsed_s']:.1f} s)")


def _text(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if name.startswith("n_") else f"{value:,.4f}"
