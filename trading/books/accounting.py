"""Money arithmetic of a book: fills, cash, holdings, equity. Pure, exact, `Decimal` throughout.

The paper venue, the backtest and the ledger audit all use these functions, so a cent that appears in one
appears in the others. Average-cost accounting; a sale realises (price - average cost) x quantity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from helios.errors import Rejected
from trading.enums import Side

CENTI = Decimal("0.00000001")  # every stored amount, price and quantity has eight decimals
ZERO = Decimal(0)
BPS = Decimal(10_000)


def exact(value: float) -> Decimal:
    """A float64 price as money with eight decimals; the one place where statistics become money."""
    return Decimal(f"{value:.8f}")


def rounded(value: Decimal) -> Decimal:
    """Eight decimals, half to even."""
    return value.quantize(CENTI, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """A market order that waits for a bar of its symbol."""

    client_order_id: str
    symbol: str
    side: str  # BUY or SELL
    quantity: Decimal
    bar_ts: datetime  # close of the bar of the decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What was traded, at what price, and what it cost. `notional` is already rounded, so sums are exact."""

    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    bar_ts: datetime  # close of the bar in which it happened

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == Side.BUY else -self.quantity

    @property
    def cash_flow(self) -> Decimal:
        """What the fill adds to the cash, fee included."""
        return (-self.notional if self.side == Side.BUY else self.notional) - self.fee


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An open position. `quantity` is signed; `average_price` is the average cost of what is open."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees_paid: Decimal = ZERO

    def after(self, fill: Fill) -> Holding:
        """The holding once the fill is booked; crossing zero closes first and opens the rest."""
        change = fill.signed_quantity
        quantity = self.quantity + change
        fees = self.fees_paid + fill.fee
        if self.quantity * change >= 0:
            cost = abs(self.quantity) * self.average_price + fill.notional
            return replace(self, quantity=quantity, average_price=rounded(cost / abs(quantity)), fees_paid=fees)
        closed = min(abs(change), abs(self.quantity))
        direction = 1 if self.quantity > 0 else -1
        realised = self.realised_pnl + rounded((fill.price - self.average_price) * closed * direction)
        still_open = self.average_price if quantity * self.quantity > 0 else fill.price
        average = ZERO if quantity == 0 else still_open
        return replace(self, quantity=quantity, average_price=average, realised_pnl=realised, fees_paid=fees)


@dataclass(slots=True)
class Account:
    """Cash and holdings of one book."""

    cash: Decimal
    holdings: dict[str, Holding] = field(default_factory=dict)

    def apply(self, fill: Fill) -> None:
        """Book one fill."""
        self.holdings[fill.symbol] = self.holdings.get(fill.symbol, Holding()).after(fill)
        self.cash += fill.cash_flow

    def quantity(self, symbol: str) -> Decimal:
        """Signed quantity held, zero when nothing is."""
        holding = self.holdings.get(symbol)
        return ZERO if holding is None else holding.quantity

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Cash plus holdings at the given prices; `Rejected` names a held symbol without a price."""
        total = self.cash
        for symbol, holding in self.holdings.items():
            if holding.quantity == 0:
                continue
            price = prices.get(symbol)
            if price is None:
                raise Rejected(f"equity needs a price for every held symbol, {symbol} has none")
            total += rounded(holding.quantity * price)
        return total


def replay(initial_cash: Decimal, fills: Iterable[Fill]) -> Account:
    """The account that results from these fills, in order: what positions and cash must equal."""
    account = Account(initial_cash)
    for fill in fills:
        account.apply(fill)
    return account
