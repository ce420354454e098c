"""What a gate process says, line by line, read as from a stranger: the code under test can write there as well as we.

A line of ours is a JSON object behind the run's token; whatever else lies on the pipe is passed over. A line behind
the token that no test of ours would write at that moment (another shape, a number out of bounds, a result of a test
that was not begun, a second one, a second plan) is `Garbled`: the run has failed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from helios.errors import HeliosError

Outcome = Literal["passed", "failed", "error", "timeout", "killed"]

MAX_PATIENCE: Final = 60.0
MAX_TESTS: Final = 1_000
STARTS: Final = ("gate", "starts", True)
LOADS: Final = ("gate", "loads", True)

Name = Annotated[str, Field(min_length=1, max_length=200)]
Planned = tuple[Name, Name, bool]  # suite, test, whether it is required
Milliseconds = Annotated[float, Field(ge=0, le=1e9)]
Said = tuple[
    Name, Name, bool, Literal["passed", "failed", "error"], Annotated[str, Field(max_length=600)], Milliseconds
]


class Garbled(HeliosError):  # noqa: N818 - a verdict on the line
    """The gate process said what none of ours says."""


class Message(BaseModel):
    """One line. Each has one of these; `patience` belongs to `begin`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    begin: Planned | None = None
    patience: Annotated[float, Field(gt=0, le=MAX_PATIENCE)] = 1.0
    result: Said | None = None
    plan: Annotated[list[Planned], Field(max_length=MAX_TESTS)] | None = None
    idle: list[Name] | None = None
    lacking: Annotated[list[Name], Field(max_length=20)] | None = None
    end: Literal[True] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What one test said. `failed`: the property does not hold; `error`: it could not be looked at."""

    __test__ = False  # for pytest: a name, not a test

    name: str
    suite: str
    required: bool
    outcome: Outcome
    message: str
    duration_ms: float

    @property
    def blocks(self) -> bool:
        """Whether it keeps the version out."""
        return self.required and self.outcome != "passed"


@dataclass(slots=True, kw_only=True)
class Transcript:
    """All that was said so far, in order; `suites` are those that were asked for."""

    suites: Collection[str] = ()
    results: list[TestResult] = field(default_factory=list)
    begun: list[Planned] = field(default_factory=list)
    plan: list[Planned] | None = None
    idle: list[str] = field(default_factory=list)  # suites without a test for this code
    lacking: list[str] | None = None  # walls that the machine does not allow; None until that is known
    patience: float = 1.0  # with the test that was begun last
    ended: bool = False

    def hear(self, line: bytes | bytearray) -> None:
        """Take in one line without its token. Raises: Garbled."""
        try:
            message = Message.model_validate_json(bytes(line))
        except (ValidationError, ValueError) as error:
            raise Garbled("it wrote a line in the place of its results that is none of the gate's") from error
        said = [
            name for name in ("begin", "result", "plan", "idle", "lacking", "end") if getattr(message, name) is not None
        ]
        if len(said) != 1 or self.ended:
            raise Garbled("it wrote a line in the place of its results that is none of the gate's")
        self._take(message)

    def has_result(self, test: Planned) -> bool:
        """Whether the result of a test was heard."""
        return any((each.suite, each.name) == test[:2] for each in self.results)

    def _take(self, message: Message) -> None:
        if message.begin is not None:
            self._begin(message.begin, message.patience)
        elif message.result is not None:
            self._result(message.result)
        elif message.plan is not None:
            _require(self.plan is None and self._idle and self.begun[-1:] == [LOADS], "it told its plan out of turn")
            tests = {(suite, name) for suite, name, _ in message.plan}
            known = all(suite in self.suites for suite, _, _ in message.plan)
            _require(known and len(tests) == len(message.plan), "it planned tests that nobody asked for")
            self.plan = message.plan
        elif message.idle is not None:
            _require(
                self.plan is None and self._idle and set(message.idle) <= set(self.suites),
                "it told of suites out of turn",
            )
            self.idle = message.idle
        elif message.lacking is not None:
            _require(self.lacking is None and self.begun == [STARTS], "it told of its walls out of turn")
            self.lacking = message.lacking
        else:
            _require(self._idle, "it ended in the middle of a test")
            self.ended = True

    @property
    def _idle(self) -> bool:
        """Whether no test is under way."""
        return bool(self.begun) and (self.begun[-1] == STARTS or self.has_result(self.begun[-1]))

    def _begin(self, test: Planned, patience: float) -> None:
        in_turn = {0: [STARTS], 1: [LOADS]}.get(len(self.begun), self.plan or [])
        free = not self.begun or self._idle
        _require(free and test in in_turn and test not in self.begun, f"it began the test {test[1]!r} out of turn")
        self.begun.append(test)
        self.patience = patience

    def _result(self, said: Said) -> None:
        suite, name, required, outcome, message, took_ms = said
        awaited = bool(self.begun) and not self._idle and self.begun[-1] == (suite, name, required)
        _require(awaited, f"it told the result of {name!r} out of turn")
        self.results.append(
            TestResult(suite=suite, name=name, required=required, outcome=outcome, message=message, duration_ms=took_ms)
        )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise Garbled(sentence)
