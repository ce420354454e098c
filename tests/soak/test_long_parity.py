"""The live chain beside the backtest over a year of days, half a session of minutes, and three months with holes."""

from __future__ import annotations

from tests.support.harness import Stack
from tests.tiers.live.test_parity import assert_one_path


def test_the_chain_gives_the_decisions_of_the_backtest_for_a_year(desk: Stack) -> None:
    assert_one_path(desk, {"days": 250, "minutes": 200, "holes": 60}, timeout_s=3_000)
