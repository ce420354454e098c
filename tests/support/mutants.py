"""Wrong implementations and who catches them: run one suite on a candidate in this process, collect the verdicts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from helios.modules.gate.child import verdict
from helios.modules.suites import Candidate
from helios.modules.suites.generic import TESTS as GENERIC
from tiers.contracts import protocols
from tiers.gates import completeness, data, predict, risk, trading
from tiers.gates.calls import CALLS

SUITES = {"generic": GENERIC, "data": data.TESTS, "ml": predict.TESTS, "risk": risk.TESTS, "trading": trading.TESTS}
OF_PARTS = {  # what speaks of the other parts of a tier: tests/tiers/gates/test_gate_parts.py
    completeness.NAME,
    "the set names its columns and timeframes",
    "volatility is positive or unknown",
    "volatility knows no future",
    "the context speaks of its bar",
    "the context knows no future",
    "enforcement stays within the view",
}
OF_STAGE = {
    "ingest": "data",
    "features": "data",
    "predict": "ml",
    "risk": "risk",
    "llm": "risk",
    "portfolio": "trading",
    "execute": "trading",
    "strategy": "trading",
}


def shipped(stage: str) -> Callable[..., Any]:
    run: Callable[..., Any] = importlib.import_module(f"tiers.{stage}").run
    return run


def candidate(stage: str, run: Callable[..., Any], **attributes: Any) -> Candidate:
    others = {"VERSION": "1.0.0", "__doc__": "", **attributes}
    whole = importlib.import_module(f"tiers.{stage}") if stage in protocols.PROTOCOLS else SimpleNamespace()
    implementation = protocols.Replaced(whole, run=run, **others)
    return Candidate(name=stage, version="1.0.0", contract=stage, implementation=implementation, call=CALLS.get(stage))


def caught(stage: str, run: Callable[..., Any], suite: str = "", *, seed: int = 7) -> dict[str, str]:
    """The tests of the stage's suite that did not pass, and what they said."""
    found = {}
    subject = candidate(stage, run)
    for test in SUITES[suite or OF_STAGE[stage]]:
        if not test.contracts or stage in test.contracts:
            outcome, message = verdict(lambda test=test: test.function(subject, seed))
            if outcome != "passed":
                found[test.name] = message
    return found


def one(stage: str, run: Callable[..., Any], name: str, suite: str = "", *, seed: int = 7, **others: Any) -> str:
    """What the one test of that name said; empty when it passed."""
    test = next(each for each in SUITES[suite or OF_STAGE[stage]] if each.name == name and fits(each, stage))
    return verdict(lambda: test.function(candidate(stage, run, **others), seed))[1]


def fits(test: Any, stage: str) -> bool:
    return not test.contracts or stage in test.contracts


def required(stage: str) -> set[str]:
    return {test.name for test in SUITES[OF_STAGE[stage]] if test.required and stage in test.contracts}


def names(stage: str) -> set[str]:
    """The properties of `run`."""
    return {test.name for test in SUITES[OF_STAGE[stage]] if stage in test.contracts} - OF_PARTS
