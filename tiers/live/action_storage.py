"""A file of splits and dividends beside the prices that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from tiers.contracts.errors import DataError
from trading.enums import Timeframe
from trading.market import action_evidence, read
from trading.market.actions import Action
from trading.market.feeds.file_actions import FileActions
from trading.orders import due_actions

SAME_EVENT: Final = timedelta(days=5)  # between two actions of a kind lie a week and more, without a holiday


def check(symbol: str, found: FileActions, *, replaced: bool) -> list[str]:
    """A sentence for what the stored prices cannot show; `DataError` where a file contradicts what is stored.

    Where stored prices go on over splits or dividends as if there had been none, where a dividend takes all of them, or
    where an action seems to be a stored one on another day, which only a file that replaces, or has, the stored one may
    say.
    """
    actions = found.actions
    stored = [] if replaced else read.actions([symbol], Timeframe.D1)
    _refuse_doubles(symbol, actions, stored)
    known: dict[str, dict[datetime, action_evidence.Span]] = {}
    for timeframe, ex_ts, before, after in read.nights(symbol, action_evidence.moments(actions)):
        known.setdefault(timeframe, {})[ex_ts] = before, after
    judged = [action_evidence.judged(actions, spans) for spans in known.values()]
    for nights in judged:
        if sentence := action_evidence.contradiction(symbol, nights):
            raise DataError(sentence)
    unclear = min((action_evidence.unclear(nights) for nights in judged if nights), key=len, default=[])
    together = {(each.ex_ts, each.kind): each for each in (*stored, *actions)}
    return [*unclear, *action_evidence.of_today(together.values())]


def _refuse_doubles(symbol: str, actions: Sequence[Action], stored: Sequence[Action]) -> None:
    known = {(each.ex_ts, each.kind) for each in actions}
    for old in stored:
        for new in actions if (old.ex_ts, old.kind) not in known else ():
            if new.kind is old.kind and abs(new.ex_ts - old.ex_ts) <= SAME_EVENT:
                raise DataError(
                    f"{symbol} must have each action on one day, and the {new} seems to be the stored {old}: "
                    "--replace with a file of all its actions corrects a day; a file with both says that there were two"
                )


def unbooked(symbol: str) -> list[str]:
    """A sentence for each book whose shares stay as they are over an action, and for each that booked it otherwise."""
    by_book: dict[str, list[str]] = {}
    for name, action in due_actions.missed(symbol):
        by_book.setdefault(name, []).append(str(action))
    return [
        f"WARNING: book {name} held {symbol} over the {', '.join(said)}, and what it held was traded or "
        "split since: its shares and its cash stay as they are"
        for name, said in by_book.items()
    ] + [
        f"WARNING: book {name} booked the {before} of {symbol}, which is stored no more: that stays, and "
        + (f"the {since} is taken for it and not booked again" if since else "none is taken for it")
        for name, before, since in due_actions.moved(symbol)
    ]
