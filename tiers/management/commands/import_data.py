"""`manage.py import_data`: bars of the bundled sample or of a file, or splits and dividends, into their tables."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone
from rich.table import Table

from helios.console import Console
from helios.plain_command import PlainCommand
from helios.progress import progress_of
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.contracts.errors import DataError
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.described import described
from tiers.ingest.jumps import warnings
from tiers.ingest.prepare import BadRowsError, Prepared, bars_of_trades, prepare
from tiers.ingest.stored_bars import neighbours, nights
from tiers.live import action_storage
from tiers.live.bar_storage import series_of, with_higher, with_stored
from trading import sample_data, symbols
from trading.enums import AssetClass, Timeframe
from trading.market import action_evidence, action_write, asset_class, instruments
from trading.market import write as market
from trading.market.bars import BarTable
from trading.market.calendars import calendar
from trading.market.feeds.file_actions import ActionFile
from trading.market.feeds.file_closes import TimeLabel
from trading.market.feeds.file_numbers import MARKS
from trading.market.feeds.file_times import DATE_ORDERS
from trading.market.feeds.files import OF_TRADES, FileRows, FileSource, table_from_frame
from trading.market.lots import USUAL_CALENDARS
from trading.market.timeframes import TIMEFRAMES
from trading.models import Instrument, MarketOHLC

OF_A_CALENDAR = frozenset({Code.OFF_GRID, Code.OUTSIDE_SESSION})
OF_TIMES = OF_A_CALENDAR | {Code.FUTURE}
NEEDED = ("file", "symbol", "timeframe")  # a file of trades needs no timeframe
OF_SAMPLE = "sample:"
OF_BARS = ("timeframe", "asset_class", "times", "time_column", "zone", "drop_invalid")
OF_FILES = ("file", "symbol", "file_symbol", "replace", "dates", "decimal", *OF_BARS)
DROPS = "--drop-invalid leaves such rows out"
COLUMNS = (
    "symbol",
    "timeframe",
    "rows",
    "inserted",
    "corrected",
    "unchanged",
    "missing_bars",
    "dropped_rows",
)


class Command(PlainCommand):
    help = (
        "Load bars into the market table: the bundled data, or a CSV, Parquet or Feather file of bars or trades; "
        "with --actions, splits and dividends."
    )
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            help="columns: a time, open, high, low, close, volume; or a time, price, quantity",
        )
        parser.add_argument("--sample", action="store_true", help="load the bundled real data")
        parser.add_argument(
            "--actions", action="store_true", help="the file holds splits and dividends: a date, and split or dividend"
        )
        parser.add_argument("--symbol", help="whose bars the file holds")
        parser.add_argument(
            "--file-symbol", default="", metavar="NAME", help="the file's own name of it: only rows with that are read"
        )
        parser.add_argument("--timeframe", choices=[*TIMEFRAMES], help="how long the file's bars are")
        parser.add_argument(
            "--asset-class", choices=[*AssetClass], help="default: by the symbol, then by the hours of the bars"
        )
        parser.add_argument(
            "--times", choices=["close", "open"], help="what the file's times name; default: as the file shows"
        )
        parser.add_argument("--time-column", default="", metavar="NAME", help="which column holds the times")
        parser.add_argument("--zone", default="", metavar="ZONE", help="whose clock times without an offset show")
        parser.add_argument("--dates", choices=[*DATE_ORDERS], help="whether 1/2/2024 begins with its day or its month")
        parser.add_argument("--decimal", choices=[*MARKS], help="the decimal mark of the file's numbers")
        parser.add_argument(
            "--replace", action="store_true", help="remove the stored bars (or actions) of the symbol first"
        )
        parser.add_argument("--drop-invalid", action="store_true", help="leave out rows that cannot be read or used")
        parser.add_argument("--dry-run", action="store_true", help="say how the file is understood, and store nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        began = time.monotonic()
        self.assumed: list[str] = []
        self.understood: dict[str, str] = {}
        self.replaced = False
        if options["sample"]:
            _refuse(options, "--sample", *OF_FILES, "actions")
        found, rows = ([], self._actions(options)) if options["actions"] else self._bars_of(options)
        elapsed_s = round(time.monotonic() - began, 3)
        if not options["json"]:
            for sentence in self.assumed:
                self.stderr.write(printable(sentence))
        if options["json"]:
            problems = [str(problem) for _, prepared in found for problem in prepared.problems]
            result = {"series": rows, "problems": problems, "assumed": self.assumed, "understood": self.understood}
            self.stdout.write(json.dumps({**result, "elapsed_s": elapsed_s}))
        elif self.stdout.isatty():
            for table in [*([_table(rows, elapsed_s)] if rows else []), *_understood(self.understood)]:
                Console().print(table)
        else:
            for line in [*map(_line, rows), *(f"{title}: {text}" for title, text in self.understood.items())]:
                self.stdout.write(printable(line))
        if options["dry_run"] and not options["json"]:
            self.stdout.write("Nothing was stored: --dry-run.")

    def _bars_of(self, options: dict[str, Any]) -> tuple[list[tuple[market.Series, Prepared]], list[dict[str, Any]]]:
        found = list(_sample() if options["sample"] else [self._file(options)])
        with transaction.atomic():
            if not options["dry_run"]:
                market.lock_bars([series.batches[0] for series, _ in found])
            if options["sample"]:
                found = self._not_ones_own(found)
            found = [self._with_stored(*one, told=not options["sample"]) for one in found]
            return found, [] if options["dry_run"] else self._store(found, quiet=options["json"])

    def _not_ones_own(self, found: list[tuple[market.Series, Prepared]]) -> list[tuple[market.Series, Prepared]]:
        """Those of the sample's symbols of which nobody has stored other bars."""
        others = MarketOHLC.objects.filter(symbol__in=[series.symbol for series, _ in found])
        own = dict(others.exclude(source__startswith=OF_SAMPLE).values_list("symbol", "source").distinct("symbol"))
        self.assumed += [f"{symbol} is left out of the sample: bars of {own[symbol]} are stored" for symbol in own]
        return [one for one in found if one[0].symbol not in own]

    def _actions(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Read splits and dividends, and store them; the row has what became of them."""
        if not (options["file"] and options["symbol"]):
            raise DataError("import_data --actions needs FILE with --symbol")
        _refuse(options, "--actions", *OF_BARS)
        symbol = self._instrument(options["symbol"])
        known = Instrument.objects.filter(symbol=symbol).first()
        if known is None:
            raise DataError(f"{symbol} must be stored before its actions, is not; import its prices first")
        found = ActionFile(
            path=options["file"],
            symbol=symbol,
            calendar=calendar(known.calendar),
            decimal=options["decimal"],
            dates=options["dates"],
            file_symbol=options["file_symbol"],
        ).read(may_be_empty=options["replace"])
        self.understood = found.understood
        if options["replace"]:
            self.assumed.append(f"the stored actions of {symbol} are removed first")
        with transaction.atomic():
            market.lock_symbols([symbol])
            self.assumed += action_storage.check(symbol, found, replaced=options["replace"])
            if options["dry_run"]:
                return []
            source = f"file:{options['file'].name}"
            result = action_write.store(symbol, found.actions, source, replaced=options["replace"])
            self.assumed += action_storage.unbooked(symbol)
        return [{"symbol": symbol, "timeframe": "actions", "rows": len(found.actions), **_counts(result)}]

    def _with_stored(self, series: market.Series, prepared: Prepared, *, told: bool) -> tuple[market.Series, Prepared]:
        """With what is stored of the symbol; what a file leaves together with it is told."""
        series, prepared = with_higher(series, prepared)
        if told:
            prepared = with_stored(series, prepared)
            self.understood |= described(prepared)
            splits = [each for each in nights(prepared) if each.action.is_split]
            self.assumed += [*warnings(neighbours(prepared)), *action_evidence.unclear(splits)]
        return series, prepared

    def _store(self, found: list[tuple[market.Series, Prepared]], *, quiet: bool) -> list[dict[str, Any]]:
        total = sum(bars.n_bars for series, _ in found for bars in series.batches)
        with progress_of(Console(stderr=True), counted=True, quiet=quiet) as bar:
            task = bar.add_task("loading", total=total)
            results = market.import_series(
                [series for series, _ in found], progress=lambda done: bar.advance(task, done)
            )
        return [
            _row(bars.timeframe, bars.n_bars, results[series.symbol, bars.timeframe], prepared)
            for series, prepared in found
            for bars in series.batches
        ]

    def _file(self, options: dict[str, Any]) -> tuple[market.Series, Prepared]:
        found = self._found(options)
        name, drop, now = found.source.path.name, options["drop_invalid"], timezone.now()
        traded, hints, columns, n_rows = None, list[str](), found.columns.by_field, dict[int, int]()
        try:
            problems = _unreadable(found)
            if found.columns.of_trades:
                rows, n_rows, traded, broken = bars_of_trades(
                    found.trades(), source=name, drop_invalid=drop, not_after=now, columns=columns
                )
                label, problems = OF_TRADES, (*problems, *broken)
                kind = self._asset_class(rows, options)
                found.check_trades(USUAL_CALENDARS[kind])
            else:
                rows, label, kind = self._bars(found, options)
            calendar = USUAL_CALENDARS[kind]
            self.understood = found.described(label) | {"class": f"{kind} on calendar {calendar}"}
            hints = [f"its times are taken for {label}, in {found.clock}", *self.assumed]
            prepared = prepare(
                rows,
                calendar,
                source=name,
                drop_invalid=drop,
                not_after=now,
                traded=traded,
                columns=columns,
                n_rows=n_rows,
            )
        except BadRowsError as error:
            row, code = error.first.row, error.first.code
            told = [*found.time_of(row)] * (code in OF_TIMES) + hints * (code in OF_A_CALENDAR)
            drops = [DROPS] if error.n_good and not drop else []
            raise DataError("; ".join([str(error), *told, *drops])) from error
        prepared = replace(prepared, problems=(*problems, *prepared.problems))
        series = series_of(prepared, kind, f"file:{name}")
        return replace(series, replaced=self.replaced), prepared

    def _found(self, options: dict[str, Any]) -> FileRows:
        """The file as it is written, of bars or of trades."""
        if not (options["file"] and options["symbol"]):
            raise _lacking(options)
        source = FileSource(
            path=options["file"],
            symbol=self._instrument(options["symbol"]),
            timeframe=options["timeframe"] or Timeframe.M1.value,
            times=options["times"],
            time_column=options["time_column"],
            zone=options["zone"],
            dates=options["dates"],
            decimal=options["decimal"],
            file_symbol=options["file_symbol"],
        )
        name, found = source.path.name, source.rows()
        if not (found.columns.of_trades or options["timeframe"]):
            raise _lacking(options)
        if found.columns.of_trades and (source.timeframe != Timeframe.M1 or source.times):
            given = "--times" if source.times else f"--timeframe {source.timeframe}"
            raise DataError(f"{name} holds trades, of which bars of 1m and above are made; it takes no {given}")
        if found.unreadable and not options["drop_invalid"]:
            raise DataError(f"{name} {found.unreadable[0]}{_others(len(found.unreadable) - 1)}; {DROPS}")
        return found

    def _bars(self, found: FileRows, options: dict[str, Any]) -> tuple[BarTable, TimeLabel, AssetClass]:
        rows, label = found.bars(found.source.calendar)
        kind = self._asset_class(rows, options, shifted=label.kind != "close")
        try:
            return *found.bars(USUAL_CALENDARS[kind]), kind  # a date names another close on another calendar
        except DataError as error:
            raise DataError("; ".join([str(error), *self.assumed])) from error

    def _instrument(self, text: str) -> str:
        """The instrument that a symbol names; that of a venue is named with it, as its bars are written over."""
        symbol = symbols.parse(text)
        (name,) = instruments.resolved([symbol])
        if name != symbol:
            raise DataError(
                f"{symbol} must be named with its venue, since {name} is stored: that name writes over what is stored "
                f"of it, and another venue before it, as in FILE:{symbol}, makes another instrument"
            )
        return symbol

    def _asset_class(self, rows: BarTable, options: dict[str, Any], *, shifted: bool = False) -> AssetClass:
        """What is asked for, else what the instrument is known as, else what its symbol and its bars look like."""
        known = Instrument.objects.filter(symbol=rows.symbol).first()
        if known is not None and options["replace"]:
            self.replaced = True
            self.assumed.append(f"the stored bars of {rows.symbol} are removed first")
        if options["asset_class"]:
            if known is not None and known.asset_class != options["asset_class"]:
                self.replaced = True
                self.assumed.append(
                    f"{rows.symbol} was of asset class {known.asset_class} and is of {options['asset_class']} now; its "
                    "bars of before are removed, since another calendar named them"
                )
            return AssetClass(options["asset_class"])
        if known is not None:
            return AssetClass(known.asset_class)
        found = asset_class.assumed(rows, shifted=shifted)
        self.assumed.append(
            f"{rows.symbol} is taken for {found.asset_class} on calendar {USUAL_CALENDARS[found.asset_class]}, since "
            f"{found.because}; --asset-class changes that"
        )
        return found.asset_class


def _refuse(options: dict[str, Any], name: str, *others: str) -> None:
    """`DataError` where an option goes with others that it would pass over."""
    given = ["FILE" if each == "file" else f"--{each.replace('_', '-')}" for each in others if options[each]]
    if given:
        raise DataError(f"import_data {name} takes no {', '.join(given)}")


def _lacking(options: dict[str, Any]) -> DataError:
    missing = [name.upper() if name == "file" else f"--{name}" for name in NEEDED if not options[name]]
    return DataError(
        f"import_data needs --sample, or FILE with --symbol and --timeframe; missing: {', '.join(missing)}"
    )


def _unreadable(found: FileRows) -> tuple[Problem, ...]:
    return tuple(
        Problem(code=Code.UNREADABLE, symbol=found.source.symbol, row=one.row, column=one.column, detail=one.detail)
        for one in found.unreadable
    )


def _others(n_rows: int) -> str:
    return f" ({n_rows} more rows cannot be read)" if n_rows else ""


def _sample() -> Iterator[tuple[market.Series, Prepared]]:
    for dataset in sample_data.catalogue():
        frame = sample_data.load(dataset.symbol, dataset.timeframe)
        table = table_from_frame(dataset.symbol, dataset.timeframe, frame)
        prepared = prepare(table, dataset.calendar, source=dataset.file)
        yield series_of(prepared, dataset.asset_class, f"{OF_SAMPLE}{dataset.source}"), prepared


def _row(timeframe: str, n_bars: int, result: market.UpsertResult, prepared: Prepared) -> dict[str, Any]:
    is_base = timeframe == prepared.batches[0].timeframe
    return {
        "symbol": prepared.symbol,
        "timeframe": timeframe,
        "rows": n_bars,
        **_counts(result),
        "missing_bars": prepared.missing_bars if is_base else 0,
        "dropped_rows": prepared.dropped_rows if is_base else 0,
    }


def _counts(result: market.UpsertResult) -> dict[str, int]:
    return {"inserted": result.inserted, "corrected": result.corrected, "unchanged": result.unchanged}


def _understood(lines: dict[str, str]) -> list[Table]:
    """What a file was taken for; nothing of the bundled data."""
    table = Table("what", "how it was understood")
    for title, text in lines.items():
        table.add_row(title, printable(text))
    return [table] if lines else []


def _table(rows: list[dict[str, Any]], elapsed_s: float) -> Table:
    what = "actions" if rows[0]["timeframe"] == "actions" else "bars"
    table = Table(caption=f"{sum(row['rows'] for row in rows)} {what} in {elapsed_s:.1f} s")
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="left" if name in COLUMNS[:2] else "right")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in COLUMNS))
    return table


def _line(row: dict[str, Any]) -> str:
    figures = ", ".join(
        f"{row[name]} {name.replace('_', ' ')}" for name in COLUMNS[2:] if row.get(name) or name == "rows"
    )
    return f"{row['symbol']} {row['timeframe']}: {figures}"
