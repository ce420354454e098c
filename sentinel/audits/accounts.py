"""Does the money add up? Fills, splits and dividends are the truth; cash and positions must equal their sums."""

from __future__ import annotations

from decimal import Decimal

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity
from trading.books.accounting import written


def cash(snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """CASH_MISMATCH: cash is not initial cash - purchases + sales - fees + what splits and dividends paid."""
    return [
        Finding(
            code="CASH_MISMATCH",
            severity=Severity.CRITICAL,
            subject=account.book,
            message=f"book {account.book} has {account.cash:f} in cash, its fills make {account.expected:f}",
            observed=f"{account.cash:f}",
            limit=f"{account.expected:f}",
        )
        for account in snapshot.cash
        if account.cash != account.expected
    ]


def positions(snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """POSITION_MISMATCH, PROFIT_MISMATCH: a position, or the money that it carries, is not the sum of its fills."""
    quantities = [
        Finding(
            code="POSITION_MISMATCH",
            severity=Severity.CRITICAL,
            subject=f"{account.book}/{account.symbol}",
            message=f"book {account.book} holds {account.held:f} {account.symbol}, its fills make {account.by_fills:f}",
            observed=f"{account.held:f}",
            limit=f"{account.by_fills:f}",
        )
        for account in snapshot.positions
        if account.held != account.by_fills
    ]
    profits = [
        Finding(
            code="PROFIT_MISMATCH",
            severity=Severity.CRITICAL,
            subject=f"{account.book}/{account.symbol}",
            message=f"{account.symbol} in book {account.book} has {carried}, its fills make {by_fills}",
            observed=carried,
            limit=by_fills,
        )
        for account in snapshot.positions
        if (carried := _money(account.cost, account.profit, account.fees, account.dividends))
        != (
            by_fills := _money(
                account.cost_by_fills, account.profit_by_fills, account.fees_by_fills, account.dividends_by_fills
            )
        )
    ]
    return [*quantities, *profits]


def _money(cost: Decimal, profit: Decimal, fees: Decimal, dividends: Decimal) -> str:
    paid = f", dividends {written(dividends)}" if dividends else ""
    return f"cost {written(cost)}, realised profit {written(profit)}, fees {written(fees)}{paid}"


def ledger(snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """LEDGER_BROKEN: an entry of a book's hash chain was changed, left out or put in later."""
    return [
        Finding(
            code="LEDGER_BROKEN",
            severity=Severity.CRITICAL,
            subject=chain.book,
            message=f"the decision ledger of book {chain.book} is broken: "
            f"entry {chain.broken_at} does not follow from the one before it",
            observed=f"entry {chain.broken_at}",
        )
        for chain in snapshot.chains
        if chain.broken_at is not None
    ]
