"""A whole file or data set on its way into storage: judged, and with its higher timeframes."""

from __future__ import annotations

from dataclasses import dataclass

from tiers.contracts import Bars, BarTable, calendar, union, utc
from tiers.contracts.errors import DataError
from tiers.ingest.aggregate import aggregate, targets
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.validate import validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Clean bars of one symbol: `batches` begins with the base timeframe, the higher ones follow."""

    symbol: str
    batches: tuple[Bars, ...]
    problems: tuple[Problem, ...]

    @property
    def dropped_rows(self) -> int:
        """Rows that broke a rule."""
        return sum(problem.rejects for problem in self.problems)

    @property
    def missing_bars(self) -> int:
        """Bars of the base timeframe that the calendar expects and the data lack."""
        return sum(problem.missing_bars for problem in self.problems if problem.code is Code.GAP)


def prepare(table: BarTable, calendar_name: str, *, source: str, drop_invalid: bool = False) -> Prepared:
    """Validate a series and add the higher timeframes whose bars have closed by its last bar.

    A row that breaks a rule is a `DataError` naming `source`, row and column, unless `drop_invalid`.
    """
    hours = calendar(calendar_name)
    judged = validate(table, hours)
    if judged.rejected and not drop_invalid:
        raise DataError(_refusal(judged.rejected, source))
    clean = judged.table
    if not clean.n_rows:
        raise DataError(f"{source} holds no bar that keeps the rules; {_refusal(judged.rejected, source)}")
    until = utc(clean.ts[-1])
    higher = [aggregate(clean, name, hours, until=until) for name in targets(table.timeframe)]
    notes = [problem for one in higher for problem in one.problems()]
    tables = [clean, *(one.table for one in higher)]
    return Prepared(
        symbol=table.symbol,
        batches=tuple(union([one], one.timeframe) for one in tables if one.n_rows),
        problems=(*judged.problems, *notes),
    )


def _refusal(rejected: tuple[Problem, ...], source: str) -> str:
    first, others = rejected[0], len(rejected) - 1
    more = f" ({others} more rows break a rule)" if others else ""
    return f"{source} row {first.row}, column {first.column}: {first.detail}{more}"
