"""Money arithmetic of a book: fills, cash, holdings, equity. Pure, exact, `Decimal` throughout.

The paper venue, the backtest and the ledger audit all use these functions, so a cent that appears in one
appears in the others. Prices and quantities are as fine as they come; amounts of money are multiples of
`SMALLEST_AMOUNT`, so that sums of them are exact. Average-cost accounting: a holding carries what its open
quantity cost, a sale realises what it brought less its share of that, and at every moment, to the last digit,

    equity - initial cash = realised + unrealised - fees + dividends

A split changes the quantity, not what it cost. Shares that then make no lot are paid out at the open of the first bar
without it, as a sale without a fee. A dividend is paid for each share that is held when that bar opens; who is short
pays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import orjson

from helios.errors import Rejected
from trading.enums import Side
from trading.market.actions import Action
from trading.market.asset_class import DOLLAR
from trading.market.lots import in_lots

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
class Booked:
    """What a split or a dividend did to a holding of `quantity`: what is `remaining` of it, and what the cash got."""

    action: Action
    quantity: Decimal
    remaining: Decimal
    price: Decimal  # the open of the first bar without it
    cash: Decimal
    bar_ts: datetime  # the close of that bar

    @property
    def symbol(self) -> str:
        return self.action.symbol

    @property
    def whole(self) -> Decimal:
        """The signed quantity that the old one became, shares that make no lot included."""
        return self.quantity * self.action.value / self.action.per if self.action.is_split else self.quantity


def booked(action: Action, quantity: Decimal, *, price: Decimal, step: Decimal, bar_ts: datetime) -> Booked:
    """An action on a signed quantity; `price` is the open of the first bar without it, `step` the lot."""
    found = Booked(action=action, quantity=quantity, remaining=quantity, price=price, cash=ZERO, bar_ts=bar_ts)
    if not action.is_split:
        return replace(found, cash=rounded(quantity * action.value))
    remaining = in_lots(found.whole, step)
    return replace(found, remaining=remaining, cash=rounded((found.whole - remaining) * price))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An open position. `quantity` is signed, and so is `cost`: what was paid for it, or what a short brought."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees_paid: Decimal = ZERO
    dividends: Decimal = ZERO

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
            dividends=self.dividends,
        )

    def after_action(self, booked: Booked) -> Holding:
        """The holding once the action is booked."""
        if not booked.action.is_split:
            return replace(self, dividends=self.dividends + booked.cash)
        paid_out = _share(self.cost, abs(booked.whole - booked.remaining), booked.whole)
        return replace(
            self,
            quantity=booked.remaining,
            cost=self.cost - paid_out,
            realised_pnl=self.realised_pnl + booked.cash - paid_out,
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

    def book(self, action: Action, *, price: Decimal, step: Decimal, bar_ts: datetime) -> Booked | None:
        """Book a split or a dividend; None where nothing of its symbol is held."""
        quantity = self.quantity(action.symbol)
        if not quantity:
            return None
        found = booked(action, quantity, price=price, step=step, bar_ts=bar_ts)
        self.apply_action(found)
        return found

    def apply_action(self, booked: Booked) -> None:
        """Book what was booked elsewhere."""
        self.holdings[booked.symbol] = self.holdings.get(booked.symbol, Holding()).after_action(booked)
        self.cash += booked.cash

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


def replay(initial_cash: Decimal, moves: Iterable[Fill | Booked]) -> Account:
    """The account that results from these fills and actions, in order: what positions and cash must equal."""
    account = Account(initial_cash)
    for move in moves:
        if isinstance(move, Booked):
            account.apply_action(move)
        else:
            account.apply(move)
    return account
