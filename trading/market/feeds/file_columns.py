"""Which columns of a file hold a bar's times and values, by their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from helios.errors import DataError
from trading.market.bars import FIELDS, PRICES

# The first of these that a file has holds its times.
OPENS: Final = ("open_time", "time_open", "start_time", "start")
CLOSES: Final = ("close_time", "time_close", "end_time", "bar_ts")
TIMES: Final = (
    *("ts", "timestamp", "datetime", "date_time", "unix", "epoch", "date", "time", "gmt_time", "utc_time"),
    *("traded_at", "trade_time", "transact_time"),
)
OTHER_NAMES: Final = {"close/last": "close", "vol": "volume", "vol.": "volume", "trade_price": "price"}
TRADE: Final = ("price", "quantity")
HEADER: Final = "add a first line that names each column, as open_time,open,high,low,close,volume"
QUANTITIES: Final = ("quantity", "qty", "amount", "size", "volume")
IDS: Final = ("trade_id", "tid", "id")
_LIKE_A_TIME: Final = re.compile(r"(^|_)(date|time|datetime|timestamp|ts|unix|epoch|hour|minute)(_|$)")
_REPEATED: Final = re.compile(r"_duplicated_\d+$")  # as polars calls a second column of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names, as the file has them: of the time (two where a date and a time of day are apart) and of the values.

    `others` are further columns that are called like times, `settled` those that need no look. `label` says what the
    time is by its own name: the "open" or "close" of a bar, or "" where that is not said. `fields` are those of a bar,
    or of a trade; `trade_id` is "" where no column tells a trade's.
    """

    time: tuple[str, ...]
    label: str
    others: tuple[str, ...]
    settled: tuple[str, ...]
    fields: tuple[str, ...]
    trade_id: str = ""

    @property
    def of_trades(self) -> bool:
        """Whether each row is a trade, and no bar."""
        return len(self.fields) == len(TRADE)

    @property
    def by_field(self) -> dict[str, str]:
        """The file's names by those of the parts of a bar, or of a trade."""
        return {"ts": " and ".join(self.time), "id": self.trade_id, **dict(zip(self.parts, self.fields, strict=True))}

    @property
    def parts(self) -> tuple[str, ...]:
        """What the fields are, in their order."""
        return TRADE if self.of_trades else FIELDS


def plain(name: str) -> str:
    """A column's name as it is compared: `<CLOSE>` is close, `openTime` and `Open time` are open_time."""
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _REPEATED.sub("", name).strip().strip("<>"))
    return re.sub(r"\s+", "_", bare).lower()


def is_header(names: Sequence[str]) -> bool:
    """Whether a line names columns, rather than being one of the values or a title."""
    known = {OTHER_NAMES.get(plain(name), plain(name)) for name in names}
    return len(known & {*PRICES}) > 1 or bool(_of_trade(known))


def listed(names: Sequence[str], unread: Sequence[str]) -> str:
    """The columns of a file, in words; of the unread ones, that they are."""
    left = f"; {', '.join(unread)}, of lists, structures, durations or bytes, not read" if unread else ""
    return ", ".join(_REPEATED.sub("", name) for name in names) + left


def find(names: Sequence[str], source: str, *, chosen: str = "", unread: Sequence[str] = ()) -> Columns:
    """The columns of a bar, or of a trade; `chosen` is the one of its time.

    Raises: DataError, which says which are missing or there twice.
    """
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(OTHER_NAMES.get(plain(name), plain(name)), []).append(name)
    fields = _of_trade(by_name) or FIELDS
    time = (chosen,) if chosen else _time(by_name)
    shown = listed(names, unread)
    if chosen and chosen not in names:
        raise DataError(f"{source} must have the column {chosen} that --time-column names; it has {shown}")
    missing = [name for name in fields if name not in by_name]
    if not time or missing:
        wanted = ", ".join(["a time (ts, timestamp, datetime or date)"] * (not time) + missing)
        if not any(re.search("[A-Za-z]", _REPEATED.sub("", name)) for name in names):
            raise DataError(f"{source} row 1: expected the names of the columns ({wanted}), was {shown}; {HEADER}")
        option = "" if time else "; --time-column names the one of these that is its time"
        raise DataError(f"{source} must have column {wanted}; it has {shown}{option}")
    for name in (*fields, *([] if chosen else map(plain, time))):
        found = [_REPEATED.sub("", each) for each in by_name.get(name, ())]
        if len(found) > 1:
            raise DataError(f"{source} must have column {name} once, has it as {' and '.join(map(repr, found))}")
    says = plain(time[0])
    return Columns(
        time=time,
        label="open" if says in OPENS else "close" if says in CLOSES else "",
        others=tuple(name for name in names if _LIKE_A_TIME.search(plain(name))),
        settled=tuple(names) if chosen else tuple(name for name in names if {plain(name), says} <= {*OPENS, *CLOSES}),
        fields=tuple(by_name[name][0] for name in fields),
        trade_id=next((by_name[name][0] for name in IDS if name in by_name), ""),
    )


def _of_trade(names: Container[str]) -> tuple[str, ...]:
    """The price and the quantity of a trade, where there are such columns and none of a bar's prices."""
    quantity = next((name for name in QUANTITIES if name in names), "")
    return ("price", quantity) if quantity and "price" in names and not any(name in names for name in PRICES) else ()


def _time(by_name: dict[str, list[str]]) -> tuple[str, ...]:
    if "date" in by_name and "time" in by_name:
        return by_name["date"][0], by_name["time"][0]
    return next(((by_name[name][0],) for name in (*OPENS, *CLOSES, *TIMES) if name in by_name), ())
