"""`manage.py backtest` on a real database: what it prints, and its one sentence when something is missing."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from tests.support import warm
from tests.support.backtests import LinearModel, market
from tests.support.commands import printed
from tests.tiers.backtest.test_metrics import KEYS
from tiers.backtest import engine, runs
from tiers.contracts import Bars
from tiers.features.catalog import SET_VERSION
from tiers.management.commands import backtest
from trading.market import instruments
from trading.market import write as storage
from trading.market.calendars import Calendar
from trading.models import Instrument, MLModel
from trading.registry import artefacts

SYMBOLS = ("S00", "S01")
DECIDED = "20130301-20130630"


def stored(bars: Bars) -> None:
    """Bars and their instruments in the database."""
    for symbol in bars.symbols:
        instruments.ensure_instrument(symbol, "equity")
    storage.upsert_bars(bars, "test")


@pytest.fixture
def bars(db: None) -> Bars:
    made = market(1_300, 2, seed=1)
    stored(made)
    return made


def registered(*, until: datetime, role: str = "champion", name: str = "linear-1d") -> MLModel:
    return MLModel.objects.create(
        name=name,
        preset="compact",
        role=role,
        feature_set="base-v1",
        feature_version=SET_VERSION,
        timeframe="1d",
        symbols=list(SYMBOLS),
        horizon_bars=5,
        seed=1,
        path="/nowhere",
        weights_sha256="0" * 64,
        artifact_sha256="a" * 64,
        metrics={"out_of_sample": {"log_loss": 1.05}, "note": "text"},
        trained_from=datetime(2010, 1, 1, tzinfo=UTC),
        trained_to=until,
    )


@pytest.fixture
def model(bars: Bars, monkeypatch: pytest.MonkeyPatch) -> MLModel:
    """A champion whose weights are a plain function."""
    seeds = {"linear-1d": 5, "linear-1d-new": 8}
    monkeypatch.setattr(artefacts, "loaded", lambda row, _load: LinearModel(seeds[row.name]))
    return registered(until=datetime(2013, 2, 1, tzinfo=UTC))


def run(*words: str) -> str:
    return printed("backtest", "--symbols", ",".join(SYMBOLS), *words)


def run_json(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json"))
    return found


@pytest.mark.usefixtures("model")
def test_the_seven_tiers_print_the_promised_keys() -> None:
    got = run_json("--timerange", DECIDED, "--seed", "7")
    head, tail = ["strategy", "symbols", "timeframe", "start", "end"], ["elapsed_s", "seed"]
    assert list(got)[: len(head) + 2 + len(KEYS.split())] == [*head, *KEYS.split(), *tail]
    assert (got["strategy"], got["symbols"], got["seed"]) == ("helios", list(SYMBOLS), 7)
    assert got["start"] == "2013-03-01T21:00:00+00:00"
    assert got["end"] == "2013-06-30T21:00:00+00:00"
    assert got["n_bars"] == 122
    assert (got["model"], got["out_of_sample"]) == ("linear-1d", True)
    assert got["modules"].keys() == {"features", "predict", "risk", "llm", "portfolio", "execute"}


@pytest.mark.usefixtures("model")
def test_the_same_seed_twice_gives_the_same_figures() -> None:
    first, second = (run_json("--timerange", DECIDED, "--seed", "7") for _ in range(2))
    del first["elapsed_s"], second["elapsed_s"]
    assert first == second


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("calendar", "bars_per_year"), [("XNYS", 252), ("24/7", 365)])
def test_the_year_has_the_hours_of_the_markets(monkeypatch: Any, calendar: str, bars_per_year: int) -> None:
    Instrument.objects.update(calendar=calendar)
    run_helios, asked = engine.run_helios, []

    def spied(*args: Any, **options: Any) -> Any:
        asked.extend([options["params"].risk.bars_per_year, set(args[2].calendars.values())])
        return run_helios(*args, **options)

    monkeypatch.setattr(engine, "run_helios", spied)
    run_json("--timerange", DECIDED)
    assert asked == [bars_per_year, {Calendar(calendar)}]


@pytest.mark.usefixtures("model")
def test_the_optimiser_believes_the_costs_that_the_venue_charges() -> None:
    own = '{"execute": {"max_notional": "77000"}}'
    used = runs.run(backtest.request_of(options(timerange=DECIDED, fee_bps="3.5", slippage_bps="1", params=own))).result
    believed, limit = used.params["portfolio"], used.params["execute"]["max_notional"]
    assert (believed["cost_bps"], believed["holding_bars"], limit) == (4.5, LinearModel.horizon_bars, "77000")


@pytest.mark.usefixtures("model")
def test_earlier_history_warms_up_so_that_the_first_bar_is_decided_with_full_windows() -> None:
    request = backtest.request_of(options(timerange=DECIDED))
    result = runs.run(request).result
    assert result.log is not None
    assert np.isfinite(result.log.probability[0]).all()
    assert np.isfinite(result.log.sigma[0]).all()
    assert (result.log.method[0] == 2).all()  # GARCH: a thousand bars were there
    assert result.log.ts[0] == np.datetime64("2013-03-01T21:00:00")


@pytest.mark.usefixtures("model")
def test_a_longer_history_before_the_warm_up_changes_no_decision() -> None:
    windowed = runs.run(backtest.request_of(options(timerange=DECIDED))).result
    whole = runs.run(backtest.request_of(options(timerange="-20130630"))).result
    assert windowed.log is not None
    assert whole.log is not None
    late = slice(len(whole.log.ts) - 122, None)
    np.testing.assert_allclose(windowed.log.probability, whole.log.probability[late], atol=1e-9)
    np.testing.assert_array_equal(windowed.log.sigma, whole.log.sigma[late])


def options(**changes: Any) -> dict[str, Any]:
    parser = backtest.Command().create_parser("manage.py", "backtest")
    defaults = vars(parser.parse_args(["--symbols", ",".join(SYMBOLS)]))
    return {**defaults, **changes}


def test_a_symbol_that_the_model_never_saw_is_told_and_another_asset_class_is_refused(model: MLModel) -> None:
    MLModel.objects.update(symbols=["S00"])
    told = "linear-1d never saw S01: it was trained on S00."
    assert run_json("--timerange", DECIDED)["reasons"][0] == told
    assert told in run("--timerange", DECIDED)
    Instrument.objects.filter(symbol="S01").update(asset_class="crypto")
    with pytest.raises(CommandError, match="no trained model for timeframe 1d and the asset class of S00, S01"):
        run("--timerange", DECIDED)


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize("strategy", ["buy_and_hold", "sma_cross"])
def test_strategies_without_a_model_need_none(strategy: str) -> None:
    got = run_json("--strategy", strategy, "--timerange", DECIDED)
    assert got["strategy"] == strategy
    assert got["model"] is None
    assert got["out_of_sample"] is None


@pytest.mark.usefixtures("bars")
def test_buy_and_hold_equals_the_baseline_of_the_others_and_costs_matter() -> None:
    held = run_json("--strategy", "buy_and_hold", "--timerange", DECIDED)
    crossed = run_json("--strategy", "sma_cross", "--fast", "3", "--slow", "9", "--timerange", DECIDED)
    assert held["total_return_pct"] == held["buy_hold_return_pct"] == crossed["buy_hold_return_pct"]
    free = run_json(*("--strategy", "buy_and_hold", "--timerange", DECIDED, "--fee-bps", "0", "--slippage-bps", "0"))
    assert free["fees_paid"] == 0.0
    assert free["total_return_pct"] > held["total_return_pct"]


@pytest.mark.usefixtures("model")
def test_people_get_a_table_beside_buy_and_hold_and_an_honest_note(bars: Bars) -> None:
    text = run("--timerange", DECIDED)
    assert "helios" in text
    assert "buy and hold" in text
    assert "Largest drawdown" in text
    assert "Out of sample: linear-1d was trained on data up to 2013-02-01 00:00 UTC, before the first bar here." in text


@pytest.mark.usefixtures("model")
def test_the_figures_of_bars_that_the_model_did_not_see_lead_at_the_terminal_and_in_json() -> None:
    part = ("--timerange", "20130101-20130630")  # 31 bars of training, 150 since
    got, text = run_json(*part), run(*part)
    note, whole = got["says"][0], got["beside"]["helios, with bars seen in training"]
    assert note == (
        "Partly in sample: linear-1d was trained on data up to 2013-02-01 00:00 UTC, and saw 31 of the 181 bars here. "
        "The figures are those of an account that begins with $100,000.00 on the 150 bars since; what the column with "
        "the seen bars shows says nothing about the future."
    )
    assert note in text
    assert "1d bars, 2013-01-01 to 2013-06-30, figures from 2013-02-01\n" in text
    assert (got["start"], got["figures_from"]) == ("2013-01-01T21:00:00+00:00", "2013-02-01T21:00:00+00:00")
    assert (got["n_bars"], whole["n_bars"], got["out_of_sample"]) == (150, 181, True)
    alone = run_json("--timerange", "20130201-20130630")
    assert {key: got[key] for key in KEYS.split()} == pytest.approx({key: alone[key] for key in KEYS.split()})
    assert got["fees_paid"] > 0
    assert [got["beside"][key] for key in alone["beside"]] == [pytest.approx(each) for each in alone["beside"].values()]
    assert (got["reasons"], got["refused"]) == (alone["reasons"], alone["refused"])


@pytest.mark.usefixtures("model")
def test_figures_of_bars_that_the_model_saw_are_named_so() -> None:
    part = ("--timerange", "20130101-20130215")
    got, text = run_json(*part), run(*part)
    assert (got["n_bars"], got["out_of_sample"]) == (46, False)
    assert "In sample: linear-1d was trained on data up to 2013-02-01 00:00 UTC, and saw 31 of the 46 bars" in text
    assert "helios, in" in text  # the head of its column


@pytest.mark.usefixtures("model")
def test_the_report_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert f"report: {path}" in run("--timerange", DECIDED, "--export", str(path))
    html = path.read_text()
    assert "linear-1d" in html
    assert "sha256 aaaaaaaaaaaa" in html
    assert "out of sample: log loss, less is better" in html
    assert "seed of its training" in html
    assert "no symbol" in html  # advanced_risk_engine


@pytest.mark.usefixtures("model")
def test_the_challenger_serves_its_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run_json("--timerange", DECIDED)
    registered(until=datetime(2013, 4, 1, tzinfo=UTC), role="challenger", name="linear-1d-new")
    assert run_json("--timerange", DECIDED)["total_return_pct"] == alone["total_return_pct"]
    real = runs.decide
    monkeypatch.setattr(runs, "decide", lambda *args: replace(real(*args), neural_network_v2=SYMBOLS))
    both = run_json("--timerange", DECIDED)
    assert both["beside"]["helios, with bars seen in training"]["total_return_pct"] != alone["total_return_pct"]
    assert (alone["n_bars"], both["n_bars"]) == (122, 91)  # it has seen March


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (SYMBOLS, "linear-1d-new was trained on data up to 2013-04-01 00:00 UTC, and saw 31 of"),
        (
            ("S01",),
            "linear-1d (S00) was trained on data up to 2013-02-01 00:00 UTC and linear-1d-new (S01) was trained",
        ),
    ],
)
def test_every_model_that_spoke_is_named_with_its_training_and_no_other(
    monkeypatch: pytest.MonkeyPatch, model: MLModel, tmp_path: Path, served: tuple[str, ...], said: str
) -> None:
    registered(until=datetime(2013, 4, 1, tzinfo=UTC), role="challenger", name="linear-1d-new")
    real, path = runs.decide, tmp_path / "report.html"
    monkeypatch.setattr(runs, "decide", lambda *args: replace(real(*args), neural_network_v2=served))
    got, text = run_json("--timerange", DECIDED, "--export", str(path)), run("--timerange", DECIDED)
    html = path.read_text()
    assert got["says"][0].startswith(f"Partly in sample: {said}")
    assert said in text
    assert said in html
    if served == SYMBOLS:
        assert (got["model"], got["models"]) == ("linear-1d-new", {"linear-1d-new": ["S00", "S01"]})
        assert not any(re.search(rf"{model.name}(?!-new)", page) for page in (json.dumps(got), text, html))
    else:
        assert (got["model"], got["models"]) == (
            "linear-1d, linear-1d-new",
            {"linear-1d": ["S00"], "linear-1d-new": ["S01"]},
        )
        assert "Nothing is said of what linear-1d (S00) and linear-1d-new (S01) knows" in got["says"][1]
        assert all(f"<td>{name}</td>" in html for name in ("linear-1d (S00)", "linear-1d-new (S01)"))


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--strategy", "magic"], "strategy must be one of helios, buy_and_hold, sma_cross, was 'magic'"),
        (["--timeframe", "2d"], "timeframe must be one of 1m, 5m, 15m, 1h, 1d, was '2d'"),
        (["--symbols", "NOPE"], "no 1d bars of NOPE"),
        (["--symbols", ","], "at least one symbol"),
        (["--timerange", "20150101-20151231"], "no 1d bars of S00, S01 from 2015-01-01"),
        (["--timerange", "20130101-20121231"], "--timerange must begin before it ends"),
        (["--timerange", "yesterday"], "--timerange must be like 20050101-20121231, was 'yesterday'"),
        (["--timerange", "20130231-"], "20130231 in '20130231-' is none"),
        (["--timerange", "20130301-20130301"], "at least 2 bars after its warm-up, were 1"),
        (["--fee-bps", "much"], "--fee-bps must be a number, was 'much'"),
        (["--slippage-bps=-1"], "slippage_bps must be from 0 to below 10000, was -1"),
        (["--cash", "0"], "cash must be more than 0, was 0"),
        (["--seed", "x"], "--seed must be a whole number, was 'x'"),
        (["--fast", "50", "--slow", "20"], "needs 1 <= fast < slow, was fast=50, slow=20"),
        (["--strategy", "helios", "--slow", "5"], "helios takes no parameters, was given 'slow'"),
        (["--strategy", "helios"], "no trained model for timeframe 1d"),
        (["--export", "/nowhere/report.html"], "there is no directory /nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as raised:
        run("--strategy", "sma_cross", *words)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.django_db
def test_symbols_of_different_currencies_are_refused_before_any_work() -> None:
    for symbol in ("AAA-USDT", "ETH-BTC"):
        instruments.ensure_instrument(symbol, "crypto")
    with pytest.raises(CommandError, match=r"priced in one currency, .* were AAA-USDT in USD, ETH-BTC in BTC$"):
        run("--strategy", "buy_and_hold", "--symbols", "AAA-USDT,ETH-BTC")


@pytest.mark.parametrize(("unknown", "one"), [(["ABC.HK"], "USD"), (["ABC.HK", "DEF.HK"], "one")])
def test_amounts_of_a_currency_that_is_not_known_are_added_up_with_a_word(
    db: None, unknown: list[str], one: str
) -> None:
    symbols = tuple(sorted({*unknown, "S00"}) if one == "USD" else unknown)
    stored(replace(market(300, len(symbols), seed=1), symbols=symbols))
    words = ("backtest", "--strategy", "buy_and_hold", "--symbols", ",".join(symbols))
    out = io.StringIO()
    call_command(*words, stdout=out)
    assert f"The currency of {', '.join(unknown)} is not known: all amounts are added up as if it were {one}." in (
        out.getvalue()
    )
    assert "is not known" not in printed(*words[:-1], symbols[0])  # nothing is added to it


@pytest.mark.usefixtures("bars")
def test_an_unwritable_report_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("bars were loaded")

    monkeypatch.setattr(runs.market, "bar_range", never)
    with pytest.raises(CommandError, match="is a directory"):
        run("--strategy", "buy_and_hold", "--export", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("bars")
def test_long_work_reports_its_progress_in_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backtest, "QUIET_S", -1.0)
    run("--strategy", "buy_and_hold", "--timerange", DECIDED)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "decisions: 122 of 122"
    assert len(lines) <= 12
    run("--strategy", "buy_and_hold", "--timerange", DECIDED, "--json")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("bars")
def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run("--strategy", "buy_and_hold", "--timerange", DECIDED)
    assert "decisions: " not in capsys.readouterr().err


def test_a_database_without_tables_is_one_sentence_and_exit_status_1(empty_database: str) -> None:
    words = ("backtest", "--strategy", "buy_and_hold", "--symbols", "AAPL")
    ended = warm.run(["manage.py", *words], env={**os.environ, "HELIOS_DATABASE_URL": empty_database})
    assert ended.returncode == 1
    assert "python manage.py migrate" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""


def test_the_figures_of_a_model_come_in_the_order_of_training() -> None:
    kept = {"model": {"n_calls": 29, "log_loss": 1.1, "always_up": 0.4, "hit_rate": 0.6}, "other": 1}
    assert list(runs._flat(kept)) == [
        "model: log loss, less is better",
        "model: BUY and SELL calls that were right",
        "model: of these, moves that were up",
        "model: BUY and SELL calls",
        "other",
    ]
