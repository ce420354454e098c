"""The snapshot that audits judge: facts as they were read, and how the reading went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one probe went: what it saw in a few words, or why it could not see, and its wall time."""

    detail: str = ""
    error: str = ""
    skipped: str = ""
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.error and not self.skipped


class Mode(StrEnum):
    """How a book trades; the words of the book's own column."""

    REPLAY = "replay"
    PAPER = "paper"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The newest closes of one symbol of an active book, oldest first, as of the book's own clock.

    `calendar` names the sessions of its market. Of a day up to `known_until` a stream knows all minutes: one
    without a bar had no trade, but in the times (after, until] of `lacking`.
    """

    book: str
    mode: Mode
    symbol: str
    timeframe: str
    calendar: str
    closes: tuple[datetime, ...]
    clock: datetime
    known_until: datetime | None = None
    lacking: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCycle:
    """A cycle that has not ended; `progressed_at` is the end of its last stage."""

    id: int
    book: str
    mode: Mode
    stage: str
    progressed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order in the outbox or on its way; `since` is when it got into this status."""

    client_order_id: str
    book: str
    mode: Mode
    status: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CashAccount:
    """A book's cash beside what its fills make of its initial cash."""

    book: str
    initial: Decimal
    bought: Decimal
    sold: Decimal
    fees: Decimal
    cash: Decimal
    actions: Decimal = ZERO  # dividends, and shares of splits that make no lot

    @property
    def expected(self) -> Decimal:
        return self.initial - self.bought + self.sold - self.fees + self.actions


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionAccount:
    """A book's position in one symbol beside what its fills make, booked anew in their order."""

    book: str
    symbol: str
    held: Decimal = ZERO
    by_fills: Decimal = ZERO
    cost: Decimal = ZERO
    cost_by_fills: Decimal = ZERO
    profit: Decimal = ZERO
    profit_by_fills: Decimal = ZERO
    fees: Decimal = ZERO
    fees_by_fills: Decimal = ZERO
    dividends: Decimal = ZERO
    dividends_by_fills: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The end of a book's ledger: how many entries were checked, and the first one that does not hold."""

    book: str
    checked: int
    broken_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How a circuit breaker stands, in its own sentence; not `readable`: Redis holds what no breaker has left there."""

    name: str
    readable: bool
    refuses: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Room on the file system that holds a folder, in bytes."""

    folder: str
    free: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of the API that is not revoked, and when it ends (UTC)."""

    user: str
    name: str
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the audits look at, read at `taken_at` (UTC). `readings` has one entry per check."""

    taken_at: datetime
    readings: Mapping[str, Reading]
    pending_migrations: tuple[str, ...] = ()
    consumers: Mapping[str, int] = field(default_factory=dict)  # live workers by queue
    beat_at: datetime | None = None
    breakers: tuple[Breaker, ...] = ()
    tokens: tuple[Token, ...] = ()
    llm_model: str = ""  # empty where none is asked
    live_trading: bool = False  # an active live book exists
    series: tuple[Series, ...] = ()
    cycles: tuple[RunningCycle, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    cash: tuple[CashAccount, ...] = ()
    positions: tuple[PositionAccount, ...] = ()
    chains: tuple[Chain, ...] = ()
    disks: tuple[Disk, ...] = ()
