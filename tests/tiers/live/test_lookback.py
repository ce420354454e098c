"""The windows of the live stages: as long as champions and challengers ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from loguru import logger

from tiers.contracts.parameters import PipelineParams
from tiers.live import lookback
from trading.models import Stage


class Champion:
    def lookback_bars(self, _params: PipelineParams, timeframe: str) -> dict[str, int]:
        return {timeframe: 5}


class Broken:
    def lookback_bars(self, *_: Any) -> dict[str, int]:
        raise ValueError("no lookback at 1d")


def test_a_challenger_that_cannot_say_its_lookback_is_named_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookback.arms, "champion", lambda *_: Champion())
    monkeypatch.setattr(lookback.arms, "challengers", lambda _, stage: [Broken()] if stage is Stage.RISK else [])
    monkeypatch.setattr(lookback, "load", lambda _symbols, wanted, _bar_ts: wanted)
    monkeypatch.setattr(lookback, "_last", [])
    cycle: Any = SimpleNamespace(
        pk=7, bar_ts=None, modules={}, book=SimpleNamespace(symbols=["IBM"], timeframe="1d", strategy={}), rollouts=[]
    )
    said: list[tuple[str, dict[str, Any]]] = []
    sink = logger.add(lambda each: said.append((each.record["message"], each.record["extra"])))
    try:
        assert lookback.close_window(cycle, PipelineParams()) == {"1d": 5}
    finally:
        logger.remove(sink)
    ((message, fields),) = said
    assert message == "challenger.lookback_failed"
    assert (fields["stage"], fields["error"]) == ("risk", "ValueError: no lookback at 1d")


def test_a_challenging_strategy_that_is_known_no_more_costs_no_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookback.arms, "champion", lambda *_: Champion())
    monkeypatch.setattr(lookback.arms, "challengers", lambda *_: [])
    monkeypatch.setattr(lookback, "load", lambda _symbols, wanted, _bar_ts: wanted)
    monkeypatch.setattr(lookback, "_last", [])
    kind: dict[str, Any] = {
        "rollout_id": 1,
        "kind": "strategy",
        "target": "desk",
        "champion": "helios",
        "mode": "shadow",
    }
    trials = [
        {**kind, "challenger": name, "params": params, "step": 0, "percentage": 0, "symbols": []}
        for name, params in (("gone", {}), ("sma_cross", {"fast": 2, "slow": 30}), ("sma_cross", {"speed": 2}))
    ]
    book = SimpleNamespace(name="desk", symbols=["IBM"], timeframe="1d", strategy={})
    cycle: Any = SimpleNamespace(pk=8, bar_ts=None, modules={}, book=book, rollouts=trials)
    assert lookback.close_window(cycle, PipelineParams()) == {"1d": 31}
