"""`manage.py features`: what the columns of tier 2 are called and mean, and how each is made."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from math import inf
from typing import Any

from helios.console import Console, Table
from helios.plain_command import PlainCommand
from tiers.features.catalog import FEATURE_SET, FEATURES, SET_VERSION, WINDOW_BARS, Feature

COLUMNS = ("name", "group", "meaning", "formula", "range", "timeframe", "warm-up bars", "source")
TIMEFRAME = "the book's"  # of the bars that are decided on


class Command(PlainCommand):
    help = "List the features that models see: name, meaning, formula, range, timeframe, warm-up and source."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--list", action="store_true", help="the features, which is what comes without it, too")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        if options["json"]:
            rows = [dict(zip(COLUMNS, row(each), strict=True)) for each in FEATURES]
            made = {"set": FEATURE_SET, "version": SET_VERSION, "window_bars": WINDOW_BARS, "features": rows}
            self.stdout.write(json.dumps(made))
        elif self.stdout.isatty():
            table = Table(*COLUMNS)
            for each in FEATURES:
                table.add_row(*map(str, row(each)))
            Console().print(table)
        else:
            self.stdout.write(markdown(), ending="")


def row(feature: Feature) -> tuple[str | int, ...]:
    """What `COLUMNS` names of a feature."""
    meaning, formula = feature.meaning, feature.formula
    return feature.name, feature.group, meaning, formula, _range(feature), TIMEFRAME, feature.lookback, feature.source


def markdown() -> str:
    """`docs/features.md`, which is made by this command."""
    lines = [
        f"# The features of {FEATURE_SET} {SET_VERSION}",
        "",
        f"`manage.py features > docs/features.md` makes this page: {len(FEATURES)} columns of a symbol's own bars.",
        "",
        "c, o, h, l, v are close, open, high, low and volume of the bar; r = ln(c / previous c); TR is the true range;",
        "ATR the plain mean of TR over 14 bars; sd(n) the standard deviation of r over n bars; A ~ B is",
        "(A - B) / (A + B). No feature depends on the scale of the price or of the volume. Warm-up bars have no value",
        "(NaN), nor has what divides by zero, but where the formula names one; unknown volume makes volume features",
        f"alone NaN. A live window of {WINDOW_BARS} bars gives the value of the whole history to 1e-9.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(str(each).replace("|", "\\|") for each in row(feature)) + " |" for feature in FEATURES),
    ]
    return "\n".join(lines) + "\n"


def _range(feature: Feature) -> str:
    low, high = feature.bounds
    if high == inf:
        return "any" if low == -inf else f"{low:g} and above"
    return f"{high:g} and below" if low == -inf else f"{low:g} to {high:g}"
