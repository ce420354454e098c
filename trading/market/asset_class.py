"""What kind of thing an instrument is, from its symbol and the hours of its bars, where nobody says. Pure."""

from __future__ import annotations

import re
from calendar import day_name
from dataclasses import dataclass
from typing import Final

import numpy as np

from helios.errors import DataError
from trading.enums import AssetClass
from trading.market.bars import BarTable, IntArray
from trading.market.timeframes import seconds
from trading.symbols import split

STABLECOINS: Final = frozenset({"USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USDP", "PYUSD"})
# No name of a stock ends so, alone or before the sign of a dollar; HYUNDAI and WMTUSD end in other ones.
UNMISTAKABLE: Final = frozenset({"USDT", "USDC", "USDP", "FDUSD"})
COINS: Final = frozenset("BTC XBT ETH BNB SOL XRP ADA DOGE LTC BCH LINK DOT AVAX TRX".split())  # noqa: SIM905
FIAT: Final = frozenset("USD EUR GBP JPY CHF AUD CAD NZD ZAR BRL TRY KRW INR NGN MXN SGD HKD".split())  # noqa: SIM905
QUOTES: Final = STABLECOINS | COINS | FIAT
PERPETUAL: Final = frozenset({"PERP", "SWAP", "PERPETUAL"})
DOLLAR: Final = "USD"
_MEANS: Final = {**dict.fromkeys(STABLECOINS, DOLLAR), "XBT": "BTC"}
A_PART: Final = 0.1  # of all bars: what is rarer is a stray row
# US stocks trade for 16 hours a day, before and after sessions too, and by no clock after noon on a Saturday.
SATURDAY, NOON = 5, 12
MOST_HOURS: Final = 19  # of a day, with those that summer time moves
A_TRACE: Final = 0.01
WEEKS, FEWEST = 4, 20  # of bars: fewer do not show on which days a market rests


@dataclass(frozen=True, slots=True)
class Assumption:
    """What an instrument is taken for, and why, as the end of a sentence."""

    asset_class: AssetClass
    because: str


def assumed(table: BarTable, *, shifted: bool = False) -> Assumption:
    """What an instrument is taken for by its name, else by its bars, else a stock.

    `table` holds its bars by their closes; `shifted` says that their source named them by their opens. Raises:
    DataError where a name tells a coin that nobody knows, and weeks of bars a market that closes.
    """
    symbol = split(table.symbol)[1]
    quote, rest = quoted_in(symbol), _days_of_rest(table, shifted=shifted)
    if quote and rest:
        if re.split(r"[/_-]", symbol.upper())[0].removesuffix(quote) not in COINS | STABLECOINS:
            raise DataError(
                f"{table.symbol} must have bars on every day of the week to be taken for a coin, as its symbol ends in "
                f"{quote}, had none on {rest}; --asset-class says what it is"
            )
        return Assumption(AssetClass.CRYPTO, f"its symbol ends in {quote}, though it has no bar on {rest}")
    if quote:
        return Assumption(AssetClass.CRYPTO, f"its symbol ends in {quote}")
    if not rest and runs_around_the_clock(table, shifted=shifted):
        return Assumption(AssetClass.CRYPTO, "its bars run at night and on weekends")
    return Assumption(AssetClass.EQUITY, "neither its symbol nor its hours say otherwise")


def quoted_in(symbol: str) -> str:
    """The part of a symbol that tells a pair with a coin, such as USDT of BTC-USDT or PERP of BTC-PERP; else empty."""
    parts = re.split(r"[/_-]", symbol.upper())
    if len(parts) > 1:
        is_pair = parts[-1] in QUOTES and parts[0] not in FIAT
        return parts[-1] if is_pair or parts[-1] in PERPETUAL else ""
    return _quote_of_joined(parts[0], QUOTES | PERPETUAL, bases=COINS | STABLECOINS)


def currency_of(symbol: str) -> str:
    """The currency in which a symbol says that it is priced, a dollar for each coin that stands for one; else empty."""
    first, *others = re.split(r"[/_-]", symbol.upper().removesuffix("=X"))
    quote = next((part for part in others if part in QUOTES), "")
    pair = re.sub(rf"(?<=.)({'|'.join(sorted(PERPETUAL))})$", "", first)
    quote = quote or _quote_of_joined(pair, QUOTES, bases=QUOTES)
    return _MEANS.get(quote, quote)


def _quote_of_joined(pair: str, quotes: frozenset[str], *, bases: frozenset[str]) -> str:
    """The quote of a pair without a mark between its two: of a known base, or one that ends no other name; else empty.

    What follows a known base counts first: DOTUSD is DOT in USD, not DO in TUSD.
    """
    known = (pair.removeprefix(base) for base in sorted(bases) if pair.removeprefix(base) in quotes - {pair})
    ends = (quote for quote in sorted(UNMISTAKABLE) if pair.endswith(quote) and len(pair) > len(quote) + 1)
    return next(iter((*known, *ends)), "")


def runs_around_the_clock(table: BarTable, *, shifted: bool = False) -> bool:
    """Whether a tenth of the bars lies on weekends, or bars in all hours of a day where no weekend is among them.

    By whichever clock they were written: a stock's bars by another clock than UTC are not those of a coin.
    """
    if not table.n_rows:
        return False
    daily = table.timeframe == "1d"
    days, weekday, hour = _at(table, shifted=shifted)
    weekend = (weekday > SATURDAY) | ((weekday == SATURDAY) & (daily | (hour >= NOON)))
    if weekend.mean() >= A_PART:
        return True
    spans_weekend = days.min() + (SATURDAY - weekday[days.argmin()]) % 7 <= days.max()
    n_hours = np.count_nonzero(np.bincount(hour) >= A_TRACE * table.n_rows)
    return bool(not daily and not spans_weekend and n_hours > MOST_HOURS)


def _days_of_rest(table: BarTable, *, shifted: bool) -> str:
    """The days of the week on which no bar lies, or next to none, in some weeks of bars; empty where there is none."""
    days, weekday, _ = _at(table, shifted=shifted)
    if len(days) < FEWEST or days.max() - days.min() < WEEKS * 7:
        return ""
    counts = np.bincount(weekday, minlength=7)
    return " and ".join(f"{day_name[day]}s" for day in np.flatnonzero(counts < A_TRACE * len(days)).tolist())


def _at(table: BarTable, *, shifted: bool) -> tuple[IntArray, IntArray, IntArray]:
    """The days since 1970, the days of the week and the hours in which bars lie, by moments within them."""
    daily = table.timeframe == "1d"
    back_s = (seconds("1d") if shifted else 0) if daily else seconds(table.timeframe) // 2
    at = table.ts - np.timedelta64(back_s, "s")
    days = at.astype("datetime64[D]").astype(np.int64)
    return days, (days + 3) % 7, at.astype("datetime64[h]").astype(np.int64) % 24  # 1970 began on a Thursday
