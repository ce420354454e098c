"""A file of splits and dividends beside the prices that are stored."""

from __future__ import annotations

from dataclasses import replace

from tiers.contracts.errors import DataError
from trading.market.actions import Action, adjusted_already
from trading.market.feeds.file_actions import FileActions
from trading.market.read import nights
from trading.orders import due_actions


def check(symbol: str, found: FileActions) -> None:
    """`DataError` where stored prices go on over a split as if there had been none, or a dividend takes all of them."""
    actions = found.actions
    known = [(actions[place], before, after) for place, before, after in nights(symbol, [a.ex_ts for a in actions])]
    for action, before, _ in known:
        replace(action, close_before=before).check()
    sentence = adjusted_already(symbol, _missed([(each, before, after) for each, before, after in known if after]))
    if sentence:
        raise DataError(sentence)


def unbooked(symbol: str) -> list[str]:
    """A sentence for each book whose shares stay as they are over an action, since it came too late for them."""
    by_book: dict[str, list[str]] = {}
    for name, action in due_actions.missed(symbol):
        by_book.setdefault(name, []).append(str(action))
    return [
        f"WARNING: book {name} held {symbol} over the {', '.join(said)}, and traded it since: its shares and its cash "
        "stay as they are"
        for name, said in by_book.items()
    ]


def _missed(known: list[tuple[Action, float, float]]) -> list[tuple[Action, float, float]]:
    """One night of each split that is missed, whatever number of timeframes shows it."""
    missed = {each[0].ex_ts: each for each in reversed(known) if each[0].is_split and each[0].is_missed_by(*each[1:])}
    return sorted(missed.values(), key=lambda each: each[0].ex_ts)
