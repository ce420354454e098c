"""The demo's page: every figure in its place, a dash where there is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from helios.stack import summary
from helios.stack.summary import Outcome, formatted, pick
from tiers.backtest import presentation

DATA = {
    "series": [
        {"symbol": "AAPL", "timeframe": "1d", "rows": 3270, "inserted": 3270, "missing_bars": 0},
        {"symbol": "SPY", "timeframe": "1m", "rows": 97_000, "inserted": 0, "missing_bars": 12},
    ]
}
TRAINING = {"name": "compact-1d-7"}
BACKTEST = {
    "n_bars": 3270,
    "start": "2000-03-01T21:00:00+00:00",
    "end": "2013-03-01T21:00:00+00:00",
    "figures_from": "2009-04-08T20:00:00+00:00",
    "total_return_pct": 61.234,
    "sharpe": 0.7,
    "sortino": None,
    "max_drawdown_pct": -20.5,
    "n_trades": 812,
    "fees_paid": "5893",
    "out_of_sample": False,
    "beside": {
        "class frequencies": {"sharpe": 1.05, "fees_paid": "33"},
        "buy and hold": {"total_return_pct": 301.0, "sharpe": 0.8},
        "buy and hold, same volatility": {"total_return_pct": 120.0, "sharpe": 0.8},
    },
    "says": ["This model knows when nothing will happen, not where prices go."],
    "reasons": ["The equity never fell, so Sortino and Calmar ratio have no value."],
    "evidence": {
        "start": "2009-04-08T20:00:00+00:00",
        "n_bars": 900,
        "log_loss": 1.0816,
        "class_frequencies_log_loss": 1.0898,
        "hit_rate": 0.527,
        "always_up": 0.567,
        "gain_on_direction": {"value": -0.003, "low": -0.008, "high": 0.002},
    },
}
REPLAY = {
    "book": "replay-1",
    "cycles": {"run": 60, "completed": 60},
    "orders": {"total": 90, "filled": 88, "denied": 2},
    "fills": 88,
    "fees_paid": "91.20",
    "final_equity": "101234.56",
    "total_return_pct": 1.23,
    "fallbacks": {},
    "ledger": {"entries": 420, "intact": True},
    "latency": {"predict": {"p50_ms": 4.2, "p95_ms": 7.0}, "cycle": {"p50_ms": 61.0, "p95_ms": 80.1}},
}
AUDIT = {"verdict": "DEGRADED", "findings": [{"severity": "warning", "message": "beat has been silent"}]}


def outcome(**changes: Any) -> Outcome:
    given: dict[str, Any] = {
        "data": DATA,
        "training": TRAINING,
        "backtest": BACKTEST,
        "replay": REPLAY,
        "audit": AUDIT,
        "report": Path("var/reports/demo.html"),
        "timings": [("Load", 1.25), ("Replay", 20.0)],
    }
    return Outcome(**(given | changes))


def page(found: Outcome) -> str:
    console = Console(file=io.StringIO(), width=140)
    summary.show(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, label: str) -> list[str]:
    """The cells of the table row that begins with `label`."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]
        if cells and cells[0] == label:
            return cells[1:]
    raise AssertionError(f"no row {label!r} in\n{text}")


def test_the_page_holds_every_part() -> None:
    text = page(outcome())
    assert "Market data: 100,270 bars" in text
    assert row(text, "SPY") == ["1m", "97,000", "0", "12"]
    assert row(text, "Total return") == ["61.23 %", "-", "301.00 %", "120.00 %"]
    assert row(text, "Sortino ratio") == ["-", "-", "-", "-"]
    assert row(text, "cycles") == ["60 run, 60 completed"]
    assert row(text, "orders") == ["90 total, 88 filled, 2 denied"]
    assert row(text, "final paper equity") == ["101,234.56"]
    assert row(text, "ledger") == ["intact"]
    assert row(text, "fallbacks") == ["none"]
    assert row(text, "predict") == ["4.20", "7.00"]
    assert row(text, "cycle") == ["61.00", "80.10"]
    assert row(text, "Replay") == ["20.0"]
    assert "Sentinel: DEGRADED" in text
    assert "  warning: beat has been silent" in text
    assert "Report: var/reports/demo.html" in text


def test_all_that_stands_beside_the_model_is_on_the_page_and_why_a_figure_has_no_value() -> None:
    text = page(outcome())
    beside = ["class frequencies", "buy and hold", "buy and hold, same volatility"]
    heads = next(line for line in text.splitlines() if "Helios" in line)
    assert [cell.strip() for cell in heads.strip("│┃").replace("┃", "│").split("│")] == ["figure", "Helios", *beside]
    assert row(text, "Sharpe ratio") == ["0.70", "1.05", "0.80", "0.80"]
    assert row(text, "Fees paid") == ["5,893.00", "33.00", "-", "-"]
    assert "The equity never fell, so Sortino and Calmar ratio have no value." in text


def test_the_figures_of_the_backtest_have_the_names_of_its_command() -> None:
    assert {key: label for label, key, _ in summary.BACKTEST_ROWS}.items() <= presentation.LABELS.items()
    assert [(key, label) for label, key in summary.EVIDENCE_ROWS] == [*presentation.EVIDENCE_LABELS.items()]


def test_a_backtest_over_training_bars_says_so() -> None:
    assert (
        "3,270 bars, closes from 2009-04-08 20:00 UTC to 2013-03-01 21:00 UTC, with bars the model was trained on"
        in " ".join(page(outcome()).split())
    )
    assert "trained on" not in page(outcome(backtest={**BACKTEST, "out_of_sample": True}))


def test_the_model_in_service_is_shown_on_what_it_did_not_see_and_in_words() -> None:
    text = page(outcome())
    title = "Model compact-1d-7 on 900 bars from 2009-04-08 20:00 UTC on that it did not see"
    assert title in " ".join(text.split())
    assert row(text, "log loss") == ["1.0816", "1.0898", "-"]
    assert row(text, "side of the move named right") == ["0.5270", "-", "0.5670"]
    assert row(text, "of it on where they go") == ["-0.0030", "-0.0080", "0.0020"]
    assert "This model knows when nothing will happen, not where prices go." in text


@pytest.mark.parametrize("nothing", [None, {}, [], "text"])
def test_missing_results_become_dashes(nothing: Any) -> None:
    text = page(outcome(data=nothing, training=nothing, backtest=nothing, replay=nothing, audit=nothing))
    assert row(text, "final paper equity") == ["-"]
    assert row(text, "ledger") == ["-"]
    assert "Sentinel: -" in text


def test_a_broken_ledger_is_shouted() -> None:
    assert row(page(outcome(replay={"ledger": {"intact": False}})), "ledger") == ["BROKEN"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "-"),
        (float("nan"), "%", "-"),
        (12.3, "%", "12.30 %"),
        ("1234.5", "money", "1,234.50"),
        (1234, "n", "1,234"),
        (1.5, "", "1.50"),
        ("soon", "", "soon"),
    ],
)
def test_figures_read_well(value: Any, unit: str, text: str) -> None:
    assert formatted(value, unit) == text


def test_a_path_leads_to_a_value_or_nowhere() -> None:
    source = {"a": {"b": 0}, "c": 2}
    assert pick(source, "a.b") == 0
    assert pick(source, "x") is None
    assert pick(source, "a.b.c") is None
    assert pick(None, "a") is None
