"""What the handlers of the stages share: what they may know, what they give back, and how they end a cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tiers.challenge.arms import Answer
from tiers.contracts import Switches
from tiers.contracts.parameters import PipelineParams
from tiers.live.book_params import params_of
from trading.models import Book, PipelineCycle


class Skip(Exception):  # noqa: N818 - not an error: there is nothing to decide
    """The cycle ends without a decision; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What a stage may know: its cycle, its book and the flags of the cycle."""

    cycle: PipelineCycle
    book: Book
    switches: Switches

    @property
    def params(self) -> PipelineParams:
        return params_of(self.book)

    @property
    def bar_ts(self) -> datetime:
        return self.cycle.bar_ts


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What goes on the ledger, the fallback that was used if one was, and why the cycle ends here if it does.

    `version` is that of the module that answered, where it is not the one that the cycle is pinned to. `write` writes
    the output of a stage whose handler ran before its transaction, and says what the ledger keeps of that.
    """

    summary: dict[str, Any]
    skip: str = ""
    fallback: str = ""
    reason: str = ""
    version: str = ""
    write: Callable[[PipelineCycle], dict[str, Any]] = lambda _cycle: {}


Handler = Callable[[StageContext], StageResult]


def of_arms(answer: Answer[Any]) -> dict[str, Any]:
    """The challengers on the ledger, where there are any."""
    return {"arms": answer.summary()} if answer.trials else {}
