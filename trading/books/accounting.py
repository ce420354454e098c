"""Money arithmetic of a book: fills, cash, holdings, equity. Pure, exact, `Decimal` throughout.

The paper venue, the backtest and the ledger audit all use these functions, so a cent that appears in one
appears in the others. Prices and quantities are as fine as they come; amounts of money are multiples of
`SMALLEST_AMOUNT`, so that sums of them are exact. Average-cost accounting: a holding carries what its open
quantity cost, a sale realises what it brought less its share of that, and at every moment, to the last digit,

    equity - initial cash = realised + unrealised - fees
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import orjson

from helios.errors import Rejected
from trading.enums import Side
from trading.market.asset_class import DOLLAR

SMALLEST_AMOUNT = Decimal("0.00000001")  # of money in any quote currency: a satoshi, finer than all cents
ZERO = Decimal(0)
BPS = Decimal(10_000)
SMALL = Decimal("0.1")  # money of which two decimals tell too little


def exact(value: float) -> Decimal:
    """A float64 price as the shortest decimal that names it; the one place where statistics become money."""
    return Decimal(orjson.dumps(float(value)).decode())  # as str() writes it, in half the time


def rounded(value: Decimal) -> Decimal:
    """An amount of money as a multiple of the smallest, half to even. `Rejected` beyond what 28 digits carry."""
    try:
        return value.quantize(SMALLEST_AMOUNT, ROUND_HALF_EVEN)
    except InvalidOperation:
        raise Rejected(f"an amount of money must be less than 1e20, was {value:.6g}") from None


def written(value: Decimal) -> str:
    """A number as text: all its digits, no exponent, no idle zeros."""
    return f"{value.normalize():f}"


def shortened(price: Decimal) -> str:
    """A price to be read by people: two decimals, or as many as four digits of it need."""
    return f"{price:,.{max(2, 3 - price.adjusted())}f}"


def amount(value: Decimal | float, currency: str = "") -> str:
    """Money to be read by people: two decimals, or below a tenth as many as three digits of it need.

    Dollars have their sign in front, other currencies their name behind; an unknown one has neither.
    """
    exact = abs(Decimal(str(value)))
    text = f"{exact:,.{2 - exact.adjusted() if 0 < exact < SMALL else 2}f}"
    text = f"${text}" if currency == DOLLAR else f"{text} {currency}".rstrip()
    return f"-{text}" if value < 0 else text


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """A market order that waits for a bar of its symbol."""

    client_order_id: str
    symbol: str
    side: str  # BUY or SELL
    quantity: Decimal
    bar_ts: datetime  # close of the bar of the decision

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == Side.BUY else -self.quantity


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
    """An open position. `quantity` is signed, and so is `cost`: what was paid for it, or what a short brought."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees_paid: Decimal = ZERO

    def after(self, fill: Fill) -> Holding:
        """The holding once the fill is booked; crossing zero closes first and opens the rest."""
        change, paid = fill.signed_quantity, -fill.cash_flow - fill.fee
        closing = min(abs(change), abs(self.quantity)) if self.quantity * change < 0 else ZERO
        cost_closed = _share(self.cost, closing, self.quantity)
        paid_closing = _share(paid, closing, change)
        return Holding(
            quantity=self.quantity + change,
            cost=self.cost - cost_closed + paid - paid_closing,
            realised_pnl=self.realised_pnl - cost_closed - paid_closing,
            fees_paid=self.fees_paid + fill.fee,
        )

    def unrealised_pnl(self, price: Decimal) -> Decimal:
        """What closing at `price` would realise."""
        return rounded(self.quantity * price) - self.cost


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The amount of money that belongs to `part` of the quantity `whole`, whatever its sign."""
    return rounded(amount * part / abs(whole)) if part else ZERO


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

    def values(self, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """What each holding is worth at the given prices; `Rejected` names a held symbol without one."""
        values = {}
        for symbol, holding in self.holdings.items():
            if holding.quantity == 0:
                continue
            price = prices.get(symbol)
            if price is None:
                raise Rejected(f"equity needs a price for every held symbol, {symbol} has none")
            values[symbol] = rounded(holding.quantity * price)
        return values

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Cash plus holdings at the given prices; raises as `values`."""
        return self.cash + sum(self.values(prices).values(), ZERO)


def replay(initial_cash: Decimal, fills: Iterable[Fill]) -> Account:
    """The account that results from these fills, in order: what positions and cash must equal."""
    account = Account(initial_cash)
    for fill in fills:
        account.apply(fill)
    return account
