"""What can be wrong with a bar, as values that name the row and the column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Code(StrEnum):
    """The first group costs a bar; the second is only told, since nothing is wrong with the row."""

    UNREADABLE = "UNREADABLE"
    NOT_FINITE = "NOT_FINITE"
    NOT_POSITIVE = "NOT_POSITIVE"
    NEGATIVE_VOLUME = "NEGATIVE_VOLUME"
    PRICE_ORDER = "PRICE_ORDER"
    BAD_TIME = "BAD_TIME"
    OFF_GRID = "OFF_GRID"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    FUTURE = "FUTURE"
    CONFLICT = "CONFLICT"

    FORMING = "FORMING"
    DUPLICATE = "DUPLICATE"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    GAP = "GAP"
    PAUSE = "PAUSE"
    KEPT = "KEPT"
    INCOMPLETE = "INCOMPLETE"


NOTES = frozenset({Code.FORMING, Code.DUPLICATE, Code.OUT_OF_ORDER, Code.GAP, Code.PAUSE, Code.KEPT, Code.INCOMPLETE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding. `row` counts as the source does (a CSV's header is row 1); 0 where no row is to blame.

    It is of `n_rows`, of which it names the first: a minute of trades has as many as it has trades.

    `bar_ts` is the close of the bar concerned, None where the row has no usable time. `missing_bars` counts
    the bars that a gap or an incomplete bar lacks.
    """

    code: Code
    symbol: str
    detail: str
    row: int = 0
    n_rows: int = 1
    column: str = ""
    bar_ts: datetime | None = None
    missing_bars: int = 0

    @property
    def rejects(self) -> bool:
        """Whether a row was left out that broke a rule."""
        return self.code not in NOTES

    @property
    def place_and_detail(self) -> str:
        """The problem without the name of its symbol."""
        place = ", ".join([f"row {self.row}"] * bool(self.row) + [f"column {self.column}"] * bool(self.column))
        return f"{place}: {self.detail}" if place else self.detail

    def __str__(self) -> str:
        return f"{self.symbol}{' ' if self.row else ': '}{self.place_and_detail}"
