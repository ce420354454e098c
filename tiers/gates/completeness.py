"""What every suite asks first: a module has all the functions that its tier is called by."""

from __future__ import annotations

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import protocols

NAME = "it has every part of its tier"

__all__ = ["NAME", "completeness_test"]


def it_has_every_part_of_its_tier(candidate: Candidate, _seed: int) -> None:
    for name in protocols.parts(candidate.contract):
        found = getattr(candidate.implementation, name, None)
        require(callable(found), protocols.lacks(candidate.contract, name))


def completeness_test(stage: str) -> GateTest:
    """The test for modules of that stage."""
    return GateTest(name=NAME, function=it_has_every_part_of_its_tier, contracts=(stage,))
