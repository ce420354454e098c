"""The HTML report: complete, self-contained, honest about training data, and never half-written."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from pathlib import Path

import numpy as np
import pytest

from helios.modules.loading import ActiveModule
from tests.support.backtests import LinearModel, lots, market, prices, short_params
from tiers.backtest import charts, presentation, report
from tiers.backtest.engine import Config, Result, monthly_returns, run_helios, run_strategy
from tiers.backtest.evidence import Estimate, Evidence
from tiers.backtest.exact import Initial
from tiers.backtest.history import ServingModels
from tiers.backtest.outcome import Outcome
from tiers.contracts import Switches
from tiers.contracts.errors import Rejected
from trading.books.accounting import amount
from trading.enums import AssetClass
from trading.market.lots import usual_lot
from trading.models import MLModel
from trading.strategies import BuyAndHold, SmaCross

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def result() -> Result:
    return made()


def made(start_row: int = 260, trained_until: datetime | None = None) -> Result:
    bars = market(700, 3, seed=1)
    return run_helios(
        bars,
        ServingModels(champion=LinearModel(), champion_name="linear-1"),
        Config(lots=lots(bars), start_row=start_row, seed=42, trained_until=trained_until),
        params=short_params(),
        switches=Switches(auto_trading=True),
    )


def page(result: Result) -> str:
    until = result.trained_until or NOW
    model = report.ModelSummary(name="<linear>", trained_to=until, facts=[("preset", "compact")])
    context = report.Context(made_at=NOW, elapsed_s=1.5, models=[model], switches=[("garch_volatility", "on")])
    return report.render(result, context)


def text_of(html: str) -> str:
    """What a reader sees: no scripts, no styles, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


def test_the_report_holds_every_part(result: Result) -> None:
    html = page(result)
    text = text_of(html)
    for part in (
        "Equity",
        "Drawdown",
        "Monthly returns",
        "Weights over time",
        "Reductions of positions",
        "Parameters",
        "Model",
    ):
        assert part in text
    for label in presentation.LABELS.values():
        assert label in text
    assert "helios on S00, S01, S02" in text
    assert "2010-09-18 to 2011-12-01, 440 decisions" in text
    assert "seed of this run 42" in text
    assert "risk.kelly_fraction 0.25" in text
    assert "garch_volatility on" in text
    assert html.count("Plotly.newPlot(") == 4
    assert presentation.formatted("total_return_pct", result.metrics.total_return_pct) in text


def test_the_report_needs_no_network(result: Result) -> None:
    html = page(result)
    assert not re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=", html)
    assert not re.findall(r"<link\b", html)
    assert html.count("plotly.js v") == 1  # embedded once


def test_names_cannot_break_out_of_the_page(result: Result) -> None:
    html = page(result)
    assert "<linear>" not in html
    assert "&lt;linear&gt;" in html


def test_training_data_that_ends_before_the_first_bar_is_out_of_sample(result: Result) -> None:
    text = text_of(page(made(trained_until=result.start - timedelta(days=1))))
    assert (
        "Out of sample: &lt;linear&gt; was trained on data up to 2010-09-17 21:00 UTC, before the first bar here."
        in text
    )


def test_a_backtest_inside_the_training_window_names_its_figures_so(result: Result) -> None:
    text = text_of(page(made(trained_until=result.end)))
    assert "saw 440 of the 440 bars here. These figures say nothing about the future." in text
    assert text.count(", in sample") == len(report.TILES) + 1
    assert made(trained_until=result.run.ts[-20]).in_sample  # 19 are few
    assert not made(trained_until=result.run.ts[-21]).in_sample


def test_where_training_ends_within_the_backtest_the_figures_of_the_bars_since_lead(result: Result) -> None:
    got = made(trained_until=result.run.ts[199])
    text = text_of(page(got))
    assert (
        "saw 200 of the 440 bars here. The figures are those of an account that begins with 100,000.00 on the 240 bars "
        "since; what the column with the seen bars shows says nothing about the future."
    ) in text
    assert "helios, with bars seen in training" in text
    assert got.unseen is not None
    unseen = presentation.formatted("total_return_pct", got.unseen.metrics.total_return_pct)
    assert f"Total return {unseen} buy and hold" in text
    assert ", in sample" not in text
    closed = sum(not one.is_open for one in got.unseen.reductions)
    assert f"full exits included: {closed:,}, and" in text


def test_the_figures_that_lead_are_those_of_a_backtest_that_begins_where_training_ends(result: Result) -> None:
    got, alone = made(trained_until=result.run.ts[199]), made(start_row=460)
    assert got.run.equity == result.run.equity
    assert got.unseen is not None
    assert got.unseen.start == result.run.ts[200]
    assert got.unseen.run.equity == alone.run.equity
    columns, expected = presentation.columns(got), presentation.columns(alone)
    assert list(columns) == [
        *("helios", "buy and hold", "buy and hold, same volatility", "helios, with bars seen in training")
    ]
    assert columns.popitem() == ("helios, with bars seen in training", result.metrics.as_dict())
    assert columns == expected
    held = got.lead.baseline.run.held[-1] * market(700, 3, seed=1).close[461] / market(700, 3, seed=1).close[-1]
    np.testing.assert_allclose(held, held.mean(), rtol=0.01)  # equal parts at the first bar that was not seen
    assert got.lead.reasons == alone.reasons


def test_each_picture_marks_what_was_seen_in_training(result: Result) -> None:
    got = made(trained_until=result.run.ts[199])
    for picture in (charts.equity, charts.drawdown, charts.weights):
        assert "seen in training" in picture(got).to_json()
        assert "seen in training" not in picture(result).to_json()
    assert "helios, begun on bars not seen" in charts.equity(got).to_json()


def test_months_of_which_bars_were_seen_in_training_stand_in_italics(result: Result) -> None:
    got = made(trained_until=result.run.ts[199])  # 2011-04-05
    text = charts.monthly(got).data[0].text
    assert [cell.startswith("<i>") for cell in text[0]] == [False] * 8 + [True] * 5  # of 2010
    assert [cell.startswith("<i>") for cell in text[1]] == [True] * 4 + [False] * 8 + [True]
    assert "<i>" not in str(charts.monthly(result).data[0].text)
    assert "Months in italics hold bars that the model was trained on." in text_of(page(got))
    assert "italics" not in text_of(page(result))


def test_a_month_that_rounds_to_nothing_has_no_sign() -> None:
    assert [charts._cell(value, italic=False) for value in (-0.04, 0.04, -0.06, np.nan)] == ["0.0", "0.0", "-0.1", ""]


def test_one_position_that_is_open_is_one_position_and_a_time_is_that_of_a_bar() -> None:
    bars = market(60, 1, seed=3)
    text = text_of(page(run_strategy(bars, BuyAndHold(), Config(lots=lots(bars)))))
    assert "full exits included: 0, and 1 position still open at the last price; newest first. Times name bars" in text


def test_a_strategy_without_a_model_gets_no_word_about_training() -> None:
    bars = market(200, 1, seed=3)
    result = run_strategy(bars, SmaCross(fast=3, slow=9), Config(lots=lots(bars)))
    text = text_of(report.render(result, report.Context(made_at=NOW, elapsed_s=0.1)))
    assert "sma_cross on S00" in text
    assert "sample" not in text
    assert "fast 3" in text


def test_buy_and_hold_alone_has_nothing_beside_it_and_nothing_closed() -> None:
    bars = market(60, 15, seed=3)
    result = run_strategy(bars, BuyAndHold(), Config(lots=lots(bars)))
    text = text_of(report.render(result, report.Context(made_at=NOW, elapsed_s=0.1)))
    assert "buy and hold –" not in text  # noqa: RUF001
    assert "S07 and 7 more" in text
    assert "full exits included: 0, and 15 positions still open" in text
    assert "5 others" in charts.weights(result).to_json()


def test_a_run_without_trades_says_so() -> None:
    bars = market(30, 1)
    result = run_strategy(bars, SmaCross(), Config(lots=lots(bars)))
    assert "Nothing was traded." in text_of(report.render(result, report.Context(made_at=NOW, elapsed_s=0.1)))


def test_prices_and_quantities_are_readable_at_any_size(result: Result) -> None:
    coin = {"quantity": "25000000000100", "entry_price": "0.0000000149", "exit_price": "0.33333333333333333333"}
    share = {"quantity": "0.00001", "entry_price": "173.2951", "exit_price": "69123"}
    shown = [
        text_of(
            page(replace(result, reductions=[replace(result.reductions[0], **{n: Decimal(v) for n, v in of.items()})]))
        )
        for of in (coin, share)
    ]
    assert all(text in shown[0] for text in ("25,000,000,000,100", "0.00000001490", "0.3333"))
    assert all(text in shown[1] for text in ("0.00001", "173.30", "69,123.00"))


def test_each_row_of_the_reductions_has_all_that_its_profit_is_made_of(result: Result) -> None:
    paid = replace(result.reductions[0], fees=Decimal("2.41"), dividends=Decimal("110.5"), pnl=Decimal("-550.16"))
    text = text_of(page(replace(result, reductions=[paid])))
    assert "Fees Dividends Profit Return" in text
    assert "2.41 110.50 -550.16" in text


def test_long_lists_of_trades_show_the_newest_and_the_count(result: Result) -> None:
    many = replace(result, reductions=result.reductions * (1 + 400 // len(result.reductions)))
    html = page(many)
    assert f"the last 200 of {len(many.reductions):,} shown" in text_of(html)
    assert html.count("<tr><td>S0") == 200


def test_a_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    report.write(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_places_that_cannot_hold_a_report_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="is a directory"):
        report.ensure_writable(tmp_path)
    with pytest.raises(Rejected, match="there is no directory"):
        report.ensure_writable(tmp_path / "absent" / "report.html")
    with pytest.raises(Rejected, match=r"cannot be written to .*: "):
        report.write(Path("/proc/report.html"), "text")
    with pytest.raises(Rejected, match="File name too long"):
        report.ensure_writable(tmp_path / ("x" * 250))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_report_and_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.os, "replace", full)
    with pytest.raises(Rejected, match="No space left on device"):
        report.write(path, "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_thinned_lines_keep_their_ends_and_extremes() -> None:
    values = np.random.default_rng(2).normal(size=50_000).cumsum()
    rows = charts.thinned(values, 1_000)
    assert len(rows) <= 1_000
    assert {0, 49_999, int(values.argmin()), int(values.argmax())} <= set(rows.tolist())
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(charts.thinned(values[:10]), np.arange(10))


def test_averaged_areas_keep_the_mean_of_every_stretch() -> None:
    values = np.random.default_rng(2).normal(size=(1_000, 2))
    rows, means = charts.averaged(values, 10)
    np.testing.assert_array_equal(rows, np.arange(99, 1_000, 100))
    np.testing.assert_allclose(means, values.reshape(10, 100, 2).mean(axis=1))
    rows, means = charts.averaged(values[:7], 10)
    np.testing.assert_array_equal(rows, np.arange(7))
    np.testing.assert_array_equal(means, values[:7])


def test_monthly_returns_compound_to_the_total(result: Result) -> None:
    months = monthly_returns(result)
    assert next(iter(months)) == (2010, 9)
    product = np.prod([1 + value for value in months.values()]) - 1
    assert 100 * product == pytest.approx(result.metrics.total_return_pct)


def test_the_last_day_of_a_coins_month_ends_at_the_next_midnight() -> None:
    closes = list(np.linspace(100.0, 190.0, 91))
    days = np.datetime64("2022-06-01T00:00:00", "us") + np.arange(91) * np.timedelta64(1, "D")
    bars = replace(prices([100.0, *closes[:-1]], closes, symbol="AAA-USDT"), ts=days)  # May 31 to August 29
    result = run_strategy(bars, BuyAndHold(), Config(lots=lots(bars)))
    held = dict(zip([str(day)[:10] for day in days], result.run.equity_curve, strict=True))
    months = monthly_returns(result)
    assert list(months) == [(2022, 5), (2022, 6), (2022, 7), (2022, 8)]
    assert months[2022, 7] == pytest.approx(held["2022-08-01"] / held["2022-07-01"] - 1)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("total_return_pct", 12.345, "+12.35 %"),
        ("max_drawdown_pct", 12.345, "12.35 %"),
        ("total_return_pct", 4e9, "+4,000,000,000.00 %"),
        ("cagr_pct", None, "–"),  # noqa: RUF001
        ("sharpe", None, "–"),  # noqa: RUF001
        ("sharpe", -0.5, "-0.50"),
        ("expectancy", -1234.5, "-1,234.50"),
        ("n_trades", 1200, "1,200"),
        ("turnover", 2.0, "2.00 x"),
    ],
)
def test_figures_are_written_for_people(key: str, value: float | None, text: str) -> None:
    assert presentation.formatted(key, value) == text


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (-1234.5, "USD", "-$1,234.50"),
        (Decimal("1e5"), "USD", "$100,000.00"),
        (1234.5, "ZAR", "1,234.50 ZAR"),
        (-0.0041, "BTC", "-0.00410 BTC"),
        (Decimal("0.0000000123456"), "BTC", "0.0000000123 BTC"),
        (0.5, "", "0.50"),
        (0.0, "USD", "$0.00"),
    ],
)
def test_money_is_in_its_currency_and_shows_three_digits_of_what_is_small(
    value: float | Decimal, currency: str, text: str
) -> None:
    assert amount(value, currency) == text


def test_a_report_in_bitcoins_speaks_of_no_dollars() -> None:
    bars = prices([0.070, 0.071, 0.072], [0.071, 0.072, 0.073], symbol="ETH-BTC")
    lot = usual_lot(AssetClass.CRYPTO, 0.07, quote="BTC")
    config = Config(lots={"ETH-BTC": lot}, initial=Initial(cash=Decimal("0.5")), currency="BTC")
    html = page(run_strategy(bars, BuyAndHold(), config))
    text, figures = text_of(html), re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    assert "Starting with 0.50 BTC." in text
    assert "Fees paid 0.000250 BTC" in text  # 5 bps of half a bitcoin
    assert "$" not in figures
    assert '"tickprefix":"$"' not in html
    assert '"ticksuffix":" BTC"' in html


def test_nested_parameters_become_dotted_names() -> None:
    assert presentation.flattened({"a": {"b": 1.0, "c": {"d": "x"}}, "e": 2}) == [
        ("a.b", "1"),
        ("a.c.d", "x"),
        ("e", "2"),
    ]


def test_code_that_helios_does_not_ship_is_named_where_it_decided(result: Result) -> None:
    own, other = (
        ActiveModule(name="predict", version="1.5.0+ab12", path=path, digest="", implementation=None)
        for path in ("tiers.predict", "mine.calm")
    )
    outcome = Outcome(result=result, elapsed_s=0.1, models={MLModel(pk=1, name="m", trained_to=NOW): ("AAPL",)})
    shipped = replace(outcome, modules={"predict": own})
    outcome = replace(outcome, modules={"predict": other})
    told = (
        "Not all tiers were those that Helios ships: predict is mine.calm 1.5.0+ab12. These figures are that code's, "
        "too, also where they are said of a model, and on which bars it was made nobody knows but its author."
    )
    assert outcome.says == [told, *shipped.says]
    context = report.Context(made_at=NOW, elapsed_s=0.1, says=outcome.says, modules=list(outcome.versions.items()))
    text = text_of(report.render(result, context))
    assert "Modules predict 1.5.0+ab12" in text
    assert escape(told) in text
    assert outcome.to_json()["modules"] == {"predict": "1.5.0+ab12"}
    told = replace(shipped, own={"risk": {"target_volatility": 0.6}}).says[0]
    assert told == "Parameters in the place of the usual ones: risk.target_volatility 0.6."
    costs = {"fee": 5.0, "slippage": 2.0}
    assert (outcome.to_json()["cash"], outcome.to_json()["costs_bps"]) == (100_000.0, costs)


def test_what_is_said_of_a_model_stands_beside_its_figures_and_those_of_its_training_apart(result: Result) -> None:
    one = Estimate(value=0.0123, low=-0.001, high=0.03)
    found = Evidence(
        start=NOW, n_bars=976, n_forecasts=3_904, log_loss=1.0817, class_frequencies_log_loss=1.094,
        gain=one, gain_on_moving=one, gain_beyond_width=one, gain_on_direction=one, hit_rate=0.5197, always_up=0.5666,
        hit_rate_above_always_up=one, sharpe=one, sharpe_above_class_frequencies=None, says=(),
    )  # fmt: skip
    model = report.ModelSummary(name="one", trained_to=NOW, figures=[("model: log loss, less is better", "1.093")])
    context = report.Context(made_at=NOW, elapsed_s=1.5, models=[model], evidence=found)
    text = text_of(report.render(result, context))
    assert "What the model adds, with 95 % intervals Of 3,904 forecasts at 976 bars from 2026-01-02 on" in text
    assert "Log loss 1.0817, of class frequencies 1.0940; sides named right 0.5197, by always saying up 0.5666." in text
    assert "gain on class frequencies, nats 0.0123 -0.0010 0.0300" in text
    assert "Sharpe ratio, less class frequencies" not in text
    assert "Walk-forward in the training: other networks, earlier bars model: log loss, less is better 1.093" in text
