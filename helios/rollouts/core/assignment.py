"""Who gets the challenger: a sticky share of the symbols, and the assignment that a cycle pins.

An assignment is made once, when a cycle starts, and travels in the cycle's row; every later stage reads it
there, so that a rollout that moves on meanwhile does not touch a cycle under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from helios.flags.core.buckets import bucket

ALL: Final = 100  # percent


class Kind(StrEnum):
    """What is delivered: an implementation of a module's slot, or a strategy of a book."""

    MODULE = "module"
    STRATEGY = "strategy"


class Arm(StrEnum):
    """The version that serves so far, and the one that wants its place."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


class Mode(StrEnum):
    """How a step runs: over stored history, beside the champion without any effect, or for a share of symbols."""

    REPLAY = "replay"
    SHADOW = "shadow"
    LIVE = "live"


def arm_symbols(group: str, symbols: Iterable[str], percentage: int) -> tuple[str, ...]:
    """The symbols that the challenger serves at `percentage`, in the order given.

    A symbol is in when its sticky bucket 1..100 (`helios.flags.core.bucket`) is at most `percentage`. So that a
    small universe has two arms to compare, one symbol is in at any percentage above 0 (that of the lowest
    bucket) and, of two or more, one stays out at any percentage below 100 (that of the highest). The symbols of
    a smaller percentage are always among those of a larger one.
    """
    universe = tuple(symbols)
    if percentage <= 0 or not universe:
        return ()
    if percentage >= ALL:
        return universe
    order = sorted(set(universe), key=lambda symbol: (bucket(group, symbol), symbol))
    chosen = [symbol for symbol in order if bucket(group, symbol) <= percentage] or order[:1]
    if len(chosen) == len(order) > 1:
        chosen = chosen[:-1]
    served = frozenset(chosen)
    return tuple(symbol for symbol in universe if symbol in served)


def serves_book(group: str, book: str, percentage: int) -> bool:
    """Whether a stage that works on a whole book (ingest, features, llm) takes the challenger for `book`."""
    return percentage > 0 and bucket(group, book) <= percentage


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one rollout asks of one cycle. `symbols`: those the challenger decides; in shadow mode all of them."""

    rollout_id: int
    kind: str  # Kind
    target: str  # a module's slot, or the book whose strategy is challenged
    champion: str  # label of the version that serves, or of the strategy
    challenger: str  # label of the version, or name of the strategy
    mode: str  # Mode.SHADOW: decides and is recorded, nothing follows from it; Mode.LIVE: decides for `symbols`
    step: int
    percentage: int
    symbols: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)  # of a challenging strategy
    name: str = ""  # the rollout's; the group of its sticky hash

    @property
    def shadow(self) -> bool:
        """True while nothing may follow from what the challenger says."""
        return self.mode == Mode.SHADOW

    def serves_book(self, book: str) -> bool:
        """Whether the challenger runs a stage of whole books for `book`: always in shadow, else by sticky hash."""
        return self.shadow or serves_book(self.name, book, self.percentage)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for the cycle's row."""
        return {**asdict(self), "symbols": list(self.symbols), "params": dict(self.params)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Assignment:
        """The assignment that `to_json` wrote."""
        return cls(**{**data, "symbols": tuple(data["symbols"])})
