"""The instruments: what can be traded, by which lots, and when their markets are open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from helios.errors import DataError
from trading.enums import AssetClass
from trading.market.asset_class import DOLLAR, currency_of, quoted_in
from trading.market.calendars import ALWAYS_OPEN, CALENDARS, calendar
from trading.market.lots import USUAL_CALENDARS, Lot, usual_lot
from trading.models import Instrument
from trading.symbols import check as check_symbol
from trading.symbols import listed as symbols_of
from trading.symbols import split


def ensure_instrument(symbol: str, asset_class: str, price: float = 100.0, *, lot: Lot | None = None) -> Instrument:
    """The instrument of that name; made with its `lot`, else the usual one of its asset class at that price, if new.

    `DataError` when the symbol is none or that of another instrument in other case, and when the asset class is
    unknown or another one than the existing instrument's.
    """
    check_symbol(symbol)
    if asset_class not in set(AssetClass):
        raise DataError(f"asset class must be one of {', '.join(sorted(AssetClass))}, was {asset_class!r}")
    alike = Instrument.objects.filter(symbol__iexact=symbol).exclude(symbol=symbol).first()
    if alike is not None:
        raise DataError(f"the symbol must be written {alike.symbol}, as it is stored, was {symbol}")
    columns = usual(symbol, AssetClass(asset_class), price) | (asdict(lot) if lot is not None else {})
    instrument, _ = Instrument.objects.get_or_create(symbol=symbol, defaults=columns)
    if instrument.asset_class != asset_class:
        raise DataError(f"{symbol} is of asset class {instrument.asset_class}, not {asset_class}")
    return instrument


def usual(symbol: str, asset_class: AssetClass, price: float) -> dict[str, Any]:
    """The columns of an instrument that follow from what it is and costs, as far as nobody described it better."""
    lot = usual_lot(asset_class, price, quote=quoted_in(split(symbol)[1]))
    return {
        "asset_class": asset_class,
        "quantity_step": lot.quantity_step,
        "price_tick": lot.price_tick,
        "min_notional": lot.min_notional,
        "calendar": USUAL_CALENDARS[asset_class],
    }


def resolved(names: Sequence[str]) -> tuple[str, ...]:
    """The instruments that a person means, each once, in order: a bare symbol is the one at the only venue with it.

    A name that is stored as it stands always means that instrument. One that nobody has stays, for whoever asks next
    to say so. `DataError` names the venues where several have the symbol.
    """
    stored = set(Instrument.objects.filter(symbol__in=names).values_list("symbol", flat=True))
    return tuple(dict.fromkeys(name if name in stored else _at_its_venue(name) for name in names))


def listed(text: str) -> tuple[str, ...]:
    """The instruments of a list with commas between them. `DataError` as `symbols.listed` and `resolved`."""
    return resolved(symbols_of(text))


def _at_its_venue(name: str) -> str:
    if ":" in name:
        return name
    found = list(
        Instrument.objects.filter(symbol__endswith=f":{name}").order_by("symbol").values_list("symbol", flat=True)
    )
    if len(found) > 1:
        raise DataError(f"{name} must be named with its venue, since several have it: {', '.join(found)}")
    return found[0] if found else name


def named(symbols: Sequence[str]) -> list[Instrument]:
    """The instruments of these names, as far as there are any."""
    return list(Instrument.objects.filter(symbol__in=symbols))


def lots(of: Iterable[Instrument]) -> dict[str, Lot]:
    """The steps in which each instrument is traded."""
    return {
        row.symbol: Lot(quantity_step=row.quantity_step, min_notional=row.min_notional, price_tick=row.price_tick)
        for row in of
    }


def calendars(of: Iterable[Instrument]) -> dict[str, str]:
    """The name of each instrument's trading calendar."""
    return {row.symbol: row.calendar for row in of}


def market_closes(symbols: Sequence[str], of: Iterable[Instrument]) -> bool:
    """Whether any of their markets ever closes; of an instrument that nobody described it is taken to.

    Where stocks and crypto are in one book, its figures are those of sessions: the more careful ones.
    """
    return len(around_the_clock(symbols, of)) < len(symbols)


def around_the_clock(symbols: Sequence[str], of: Iterable[Instrument]) -> list[str]:
    """Those of the symbols whose market never closes."""
    by_name = calendars(of)
    return [symbol for symbol in symbols if by_name.get(symbol) == ALWAYS_OPEN]


def currency(symbols: Sequence[str], of: Iterable[Instrument]) -> str:
    """The one currency in which all of them are priced; empty where that of any is not known.

    `DataError` where two are known and differ, since their amounts are added up.
    """
    found = _by_currency(symbols, of)
    known = [f"{priced[0]} in {name}" for name, priced in found.items() if name]
    if len(known) > 1:
        raise DataError(
            "symbols must be priced in one currency, since their amounts are added up, were " + ", ".join(known)
        )
    return next(iter(found)) if len(found) == 1 else ""


def of_no_currency(symbols: Sequence[str], of: Iterable[Instrument]) -> str:
    """A sentence where amounts are added up though the currency of some is not known, else empty."""
    found = _by_currency(symbols, of)
    unknown = found.pop("", [])
    if not unknown or len(symbols) == 1:
        return ""
    one = next(iter(found), "one")
    return f"The currency of {', '.join(unknown)} is not known: all amounts are added up as if it were {one}."


def _by_currency(symbols: Sequence[str], of: Iterable[Instrument]) -> dict[str, list[str]]:
    """The symbols that are priced in each currency; those of which it is not known under the empty name."""
    stocks = {row.symbol for row in of if row.asset_class == AssetClass.EQUITY}
    found: dict[str, list[str]] = {}
    for symbol in symbols:
        found.setdefault(_currency(symbol, stock=symbol in stocks), []).append(symbol)
    return found


def _currency(symbol: str, *, stock: bool) -> str:
    """What its name says, else dollars of a stock that is named without a venue and a country."""
    elsewhere = ":" in symbol or "." in symbol
    return currency_of(split(symbol)[1]) or (DOLLAR if stock and not elsewhere else "")


def expected(absent: Sequence[str], named: Mapping[str, str], timeframe: str, bar_ts: datetime) -> list[str]:
    """Those of the absent symbols whose market closes a bar then, by its named calendar; an unknown one always does."""
    return [s for s in absent if named.get(s) not in CALENDARS or calendar(named[s]).closes_at(timeframe, bar_ts)]
