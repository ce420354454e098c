"""What is said of a model, and what stands beside it: the same at the terminal, in JSON and in the report."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.backtests import LinearModel
from tests.tiers.backtest.test_backtest_command import DECIDED, bars, model, run, run_json
from tiers.backtest.presentation import formatted
from trading.models import MLModel
from trading.registry import artefacts

__all__ = ["bars", "model"]  # fixtures
COLUMNS = ["helios", "class frequencies", "buy and hold", "buy and hold, same volatility"]


@pytest.mark.usefixtures("model")
def test_what_the_figures_say_of_the_model_is_the_same_at_the_terminal_in_json_and_in_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = (
        "Nothing is said of what linear-1d knows: that takes a card of its training and, behind that, 60 bars on which "
        "it spoke and whose outcome is known. Bars here behind its training: 122."
    )
    assert told in run("--timerange", DECIDED)
    carded = LinearModel(5)
    carded.card = SimpleNamespace(prior=[0.25, 0.4, 0.35], horizon_bars=5, theta=0.5, params={"volatility_bars": 20})
    monkeypatch.setattr(artefacts, "loaded", lambda *_: carded)
    path = tmp_path / "report.html"
    got = run_json("--timerange", DECIDED, "--export", str(path))
    assert got["evidence"]["n_bars"] == 122 - 5  # the outcome of the last five is not known yet
    assert list(got["beside"]) == ["class frequencies", "buy and hold", "buy and hold, same volatility"]
    assert len(got["says"]) == 6
    assert "with a 95 % interval from" in got["says"][4]
    text, html = run("--timerange", DECIDED), path.read_text()
    assert all(sentence in text and escape(sentence) in html for sentence in got["says"])
    (heads,) = [line for line in text.splitlines() if "same volatility" in line and "buy and hold " in line]
    assert [head.strip() for head in re.split("[│┃]", heads)[2:-1]] == COLUMNS
    assert "".join(f"<th>{name}</th>" for name in COLUMNS) in html
    figures = [formatted("total_return_pct", got["beside"][name]["total_return_pct"]) for name in COLUMNS[1:]]
    assert len({*figures}) == 3
    assert all(figure in text and f"<td>{figure}</td>" in html for figure in figures)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("temperature", "is_told"), [(100.0, True), (1.7, False)])
def test_a_temperature_that_ended_on_its_bound_is_in_the_report(
    tmp_path: Path, temperature: float, is_told: bool
) -> None:
    MLModel.objects.update(card={"temperature": temperature})
    path = tmp_path / "report.html"
    run("--timerange", DECIDED, "--export", str(path))
    assert ("The temperature ended at its upper bound 100: " in path.read_text()) is is_told
