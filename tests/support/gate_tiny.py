"""A suite for tests of the gate itself: whatever `run` does is the test."""

from __future__ import annotations

import os
import sys

from helios.modules.suites import Call, Candidate, GateTest, require

SECRET = "HELIOS_DATABASE_URL"


def before(candidate: Candidate, _seed: int) -> None:
    require(candidate.implementation is not None, "the code must be there")


def runs(candidate: Candidate, seed: int) -> None:
    require(candidate.run(seed) == seed, "run must give back what it gets")


def after(_candidate: Candidate, _seed: int) -> None:
    """Nothing of its own."""


def optional(candidate: Candidate, _seed: int) -> None:
    require(getattr(candidate.implementation, "NICE", False), "it should be nice")


def alone(_candidate: Candidate, _seed: int) -> None:
    known = sorted(name for name in os.environ if name.startswith(("HELIOS_", "DJANGO_", "PG", "REDIS")))
    require(known == ["HELIOS_GATE_RUN"], f"the environment must hold no secret, it has {known}")
    require(not sys.stdin.read(), "there must be no input")


def slow(candidate: Candidate, _seed: int) -> None:
    getattr(candidate.implementation, "wait", int)()


def lonely(_candidate: Candidate, _seed: int) -> None:
    """Only of a stage that nobody is."""


TESTS = (
    GateTest(name="optional", function=optional, required=False),
    GateTest(name="before", function=before),
    GateTest(name="runs", function=runs),
    GateTest(name="after", function=after),
    GateTest(name="alone", function=alone),
    GateTest(name="slow", function=slow, patience=30.0),
    GateTest(name="lonely", function=lonely, contracts=("nowhere",)),
)
CALLS = {"echo": lambda seed: Call(args=(seed,))}
