"""What the handlers of the stages share: what they may know, what they give back, and how they end a cycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

from tiers.challenge.arms import Answer
from tiers.contracts import Switches
from tiers.contracts.errors import HeliosError
from tiers.contracts.parameters import PipelineParams
from tiers.live.book_params import params_of
from trading.models import Book, Instrument, PipelineCycle


class Skip(HeliosError):  # noqa: N818 - not an error: there is nothing to decide
    """The cycle ends without a decision; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What a stage may know: its cycle, its book with the instruments of its symbols, and the flags of the cycle."""

    cycle: PipelineCycle
    book: Book
    instruments: Sequence[Instrument]
    switches: Switches

    @property
    def params(self) -> PipelineParams:
        return params_of(self.book, self.instruments)

    @property
    def bar_ts(self) -> datetime:
        return self.cycle.bar_ts


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What goes on the ledger, the fallback that was used if one was, and why the cycle ends here if it does.

    `version` is that of the module that answered, where it is not the one that the cycle is pinned to. `rows` are the
    output, written in the statement that moves the cycle on. `write` writes the rest, of a stage whose handler ran
    before its transaction, and says what the ledger keeps of that.
    """

    summary: dict[str, Any]
    skip: str = ""
    fallback: str = ""
    reason: str = ""
    version: str = ""
    rows: Sequence[Model] = ()
    write: Callable[[PipelineCycle], dict[str, Any]] | None = None

    @property
    def one_statement(self) -> bool:
        """Whether all that the stage leaves behind is written at once, so that no transaction is needed around it."""
        return self.write is None and not self.fallback and not self.skip


Handler = Callable[[StageContext], StageResult]


def of_arms(answer: Answer[Any]) -> dict[str, Any]:
    """The challengers on the ledger, where there are any."""
    return {"arms": answer.summary()} if answer.trials else {}
