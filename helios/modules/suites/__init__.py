"""What a gate test is. A suite is a module that exposes `TESTS`, a tuple of `GateTest`; it imports no Django.

Suites run in the gate process (`helios.modules.gate`), one test after the other, against code that may do
anything. A test is a function of the candidate and a seed that raises `GateFailure` with one sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helios.modules.suites.process_state import ProcessState

__all__ = ["Call", "Candidate", "Factory", "GateFailure", "GateTest", "contract_of", "require"]


class GateFailure(Exception):  # noqa: N818 - a verdict on the code under test, not an error of ours
    """The code does not have the property; the text says what was expected and what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a stage's `run`, as the pipeline makes it."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def of(self, run: Callable[..., Any]) -> Any:
        return run(*self.args, **self.kwargs)


Factory = Callable[[int], Call]  # a seed to a call that is made of it alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The code under test, and what is known about it."""

    name: str  # the module it would stand for
    version: str  # the version it is registered as
    contract: str  # the stage whose calls it answers, "" where that is not known
    implementation: Any
    call: Factory | None = None  # makes a call of that contract
    before: ProcessState | None = None  # the process as it was before the code was imported
    path: str = ""

    @property
    def run(self) -> Callable[..., Any]:
        found: Callable[..., Any] = self.implementation.run
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTest:
    """One property. A required test that does not pass keeps the code out; an optional one is only told.

    `contracts` are the stages that it speaks of; empty for any code. `patience` multiplies its time limit.
    """

    name: str
    function: Callable[[Candidate, int], None]
    required: bool = True
    contracts: tuple[str, ...] = ()
    patience: float = 1.0


def require(condition: object, sentence: str) -> None:
    """Raise `GateFailure` with the sentence unless the condition holds."""
    if not condition:
        raise GateFailure(sentence)


def contract_of(
    name: str, run: Callable[..., Any], calls: Mapping[str, Factory], wanted: tuple[str, ...], seed: int
) -> str:
    """The stage whose calls `run` answers: the one of its name, else the only one of `wanted` whose call fits it.

    Code may be registered under a name of its own (`predict_two`); its signature then says what it is. Empty
    where it fits none, or more than one.
    """
    if name in calls:
        return name
    fitting = [stage for stage in wanted if stage in calls and fits(run, calls[stage](seed))]
    return fitting[0] if len(fitting) == 1 else ""


def fits(run: Callable[..., Any], call: Call) -> bool:
    """Whether `run` can be called that way, going by its signature."""
    try:
        inspect.signature(run).bind(*call.args, **call.kwargs)
    except (TypeError, ValueError):
        return False
    return True
