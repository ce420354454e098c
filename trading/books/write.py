"""Books: making them and moving them between modes and states."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from helios.db.locks import changing
from helios.env import get_env
from helios.errors import Rejected
from trading.books.read import account_of, get_book, locked
from trading.enums import SEVERITY, TradingState
from trading.market import instruments, timeframes
from trading.models import Book, Instrument, Position, TradingModeChange
from trading.symbols import check as check_symbol


def draft_book(
    name: str,
    *,
    mode: str,
    timeframe: str,
    symbols: Sequence[str],
    initial_cash: Decimal,
    fee_bps: Decimal,
    slippage_bps: Decimal,
    **options: Any,
) -> Book:
    """A book that could be added, and is not yet. `Rejected` names a wrong field, an unknown symbol or a taken name."""
    timeframes.seconds(timeframe)
    wanted = known_instruments(symbols)
    if Book.objects.filter(name=name).exists():
        raise Rejected(f"a new book's name must be free, was taken: {name}")
    book = Book(
        name=name,
        mode=mode,
        timeframe=timeframe,
        symbols=sorted(wanted),
        initial_cash=initial_cash,
        cash=initial_cash,
        peak_equity=initial_cash,
        fee_bps=fee_bps,
        slippage_bps=slippage_bps,
        **options,
    )
    try:
        book.full_clean(validate_unique=False)
    except ValidationError as error:
        detail = "; ".join(f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
        raise Rejected(f"book {name!r} cannot be made: {detail}") from error
    return book


def known_instruments(symbols: Sequence[str]) -> tuple[str, ...]:
    """`instruments.resolved`, of what exists. `Rejected` names unknown ones; one may only be written otherwise.

    `DataError` where they are priced in different currencies.
    """
    names = instruments.resolved([check_symbol(symbol) for symbol in symbols])
    found = instruments.named(names)
    known = {row.symbol for row in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        alike = Instrument.objects.filter(symbol__iexact=unknown[0]).first()
        hint = f"; did you mean {alike.symbol}?" if alike else ""
        raise Rejected(f"a book needs known symbols, unknown: {', '.join(unknown)}{hint}")
    instruments.currency(names, found)
    return names


def add_book(book: Book) -> Book:
    """Store a drafted book and its empty positions."""
    try:
        with transaction.atomic():
            book.save(force_insert=True)
            Position.objects.bulk_create(Position(book=book, symbol=symbol) for symbol in book.symbols)
    except IntegrityError as error:
        raise Rejected(f"book {book.name!r} cannot be made: {str(error).splitlines()[0]}") from error
    return book


def create_book(name: str, **fields: Any) -> Book:
    """A new, empty book out of the fields of `draft_book`."""
    return add_book(draft_book(name, **fields))


def remove_unused(book: Book) -> bool:
    """Take away a book that never began a cycle; what has begun one is history, and stays."""
    with transaction.atomic():
        Book.objects.select_for_update().get(pk=book.pk)
        if book.cycles.exists():
            return False
        book.positions.all().delete()
        book.delete()
    return True


def set_mode(name: str, mode: str, *, actor: str, reason: str, confirmed: bool = False) -> TradingModeChange | None:
    """Move a book to another mode, with history. Live is refused unless it is armed twice and has a venue.

    Returns None when the book is already there.
    """
    if mode not in Book.Mode.values:
        raise Rejected(f"mode must be one of {', '.join(Book.Mode.values)}, was {mode!r}")
    with changing(f"book {name!r}"):
        book = Book.objects.select_for_update().get(pk=get_book(name).pk)
        if book.mode == mode:
            return None
        if mode == Book.Mode.LIVE:
            _refuse_live(confirmed=confirmed)
        if book.orders.filter(status__in=book.orders.model.OPEN).exists():
            raise Rejected(f"book {name!r} has open orders; let them end before its mode is changed")
        before, book.mode = book.mode, mode
        book.save(update_fields=["mode", "updated_at"])
        return TradingModeChange.objects.create(book=book, before=before, after=mode, actor=actor, reason=reason)


def _refuse_live(*, confirmed: bool) -> None:
    """Real money takes two keys, one in the environment and one in the command, and a venue to trade on."""
    if not get_env().live_trading_armed:
        raise Rejected("live mode needs HELIOS_LIVE_TRADING_ARMED=true in the environment, it is not set")
    if not confirmed:
        raise Rejected("live mode needs --confirm as the second key, it was not given")
    raise Rejected("live mode needs a live venue, and this version has only the paper venue")


def set_active(name: str, *, active: bool, actor: str, reason: str) -> Book:
    """Let beat start cycles for a book, or stop it from doing so; a change is kept in the mode history."""
    with changing(f"book {name!r}"):
        book = Book.objects.select_for_update().get(pk=get_book(name).pk)
        if book.active != active:
            words = {True: "active", False: "inactive"}
            book.active = active
            book.save(update_fields=["active", "updated_at"])
            TradingModeChange.objects.create(
                book=book, before=words[not active], after=words[active], actor=actor, reason=reason
            )
    return book


def worst(*states: str) -> str:
    """The most careful of some trading states."""
    return max(states, key=SEVERITY.index)


def set_state(name: str, state: str, *, actor: str, reason: str) -> Book:
    """Halt a book, let it only reduce, or let it trade again, with history: the word of a person.

    A state may be worsened at any moment. Only the word to trade again loosens one, for a reason: whoever asks for
    reductions means to be more careful than now. It counts the drawdown from today's equity, since the old peak would
    halt the book at its next bar.
    """
    if state not in SEVERITY:
        raise Rejected(f"state must be one of {', '.join(SEVERITY)}, was {state!r}")
    with changing(f"book {name!r}"):
        book = Book.objects.select_for_update().get(pk=get_book(name).pk)
        held = state != TradingState.ACTIVE
        if (book.state, book.held_by_person) == (state, held):
            said = book.mode_changes.values_list("actor", "reason").first()
            if held and reason.strip() and said != (actor, reason):  # halted first, explained then
                _move(book, state, actor=actor, reason=reason)
            return book
        if worst(state, book.state) != state:
            if held:
                raise Rejected(f"book {name!r} is {book.state}, which only a resume ends: it was not set to {state}")
            if not reason.strip():
                raise Rejected(f"book {name!r} goes back from {book.state} to {state} for a reason only, none given")
            prices = {p.symbol: p.last_price for p in book.positions.all() if p.last_price is not None}
            book.peak_equity = account_of(book).equity(prices)
        book.held_by_person = held
        _move(book, state, actor=actor, reason=reason)
    return book


def set_state_by_risk(book_id: int, state: str, *, seen: str, reason: str) -> str:
    """Write the state that the risk tier decided on seeing another; returns the one that its cycle must obey.

    The tier may worsen the state, unless a person loosened it since, and end a REDUCING that no person set. What it may
    not write still binds its own cycle where it is the more careful. Runs in the caller's transaction.
    """
    book = locked(book_id)
    rank = SEVERITY.index
    worsens = rank(seen) <= rank(book.state) < rank(state)
    ends = seen == book.state == TradingState.REDUCING and state == TradingState.ACTIVE and not book.held_by_person
    if not (worsens or ends):
        return worst(state, book.state)
    _move(book, state, actor="risk", reason=reason)
    return state


def _move(book: Book, state: str, *, actor: str, reason: str) -> None:
    """Write the state of a locked book, and who moved it."""
    before, book.state = book.state, state
    book.save(update_fields=["state", "held_by_person", "peak_equity", "updated_at"])
    TradingModeChange.objects.create(book=book, before=before, after=state, actor=actor, reason=reason)
