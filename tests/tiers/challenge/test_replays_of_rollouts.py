"""Champion and challenger over stored history: the same bars, an account each, errors counted, time told."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from celery.exceptions import TimeoutError as TookTooLong

from helios.errors import ModelMissing, Rejected
from helios.rollouts import providers, services
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import RolloutDecision
from tests.support import networks
from tests.support.challengers import BROKEN, BUYS, SAME
from tests.support.live_market import make_bars
from tests.tiers.challenge.conftest import FIRST, GUARDS, SYMBOLS, let_second_serve, roll_out, run
from tiers.backtest import runs
from tiers.challenge import measures
from tiers.live import book_strategy
from tiers.research import rollout_replay, tasks
from trading.books import write as books
from trading.market import instruments
from trading.market import write as market
from trading.market.timestamps import utc
from trading.models import Book, MarketOHLC, MLModel

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(rollout_replay, "N_BARS", 25)


def planned(target, label, kind="module", params=None):
    return services.create(
        f"try-{target}", kind=kind, target=target, challenger=label, params=params, guards=GUARDS, actor="test"
    )


@pytest.mark.parametrize("slot", ["features", "predict", "risk", "llm", "portfolio", "execute"])
def test_arms_that_agree_measure_the_same(book, times, challenger, slot):
    run(book, times[FIRST])
    both = rollout_replay.replay(planned(slot, challenger(slot, SAME[slot])))
    own, other = both["champion"], both["challenger"]
    assert own.n_decisions == other.n_decisions == 25 * len(SYMBOLS)
    assert own.pnl_bps == other.pnl_bps
    assert own.losses == other.losses
    assert (own.exposure, own.drawdown, own.n_orders) == (other.exposure, other.drawdown, other.n_orders)
    assert own.n_errors == other.n_errors == 0
    assert len(own.pnl_bps) == 24 * len(SYMBOLS)
    assert any(own.pnl_bps)
    assert all(ms > 0 for ms in other.latency_ms)
    assert bool(own.losses) == (slot in ("features", "predict"))


def test_a_challenger_that_decides_otherwise_measures_otherwise(book, times, challenger):
    run(book, times[FIRST])
    both = rollout_replay.replay(planned("predict", challenger("predict", BUYS)))
    assert both["champion"].pnl_bps != both["challenger"].pnl_bps
    assert both["champion"].losses != both["challenger"].losses
    assert len(both["challenger"].latency_ms) == rollout_replay.N_PROBES


def test_in_a_replay_forecasts_are_judged_by_the_labels_of_the_model_that_made_them(book, times, challenger, outcomes):
    let_second_serve(book)
    run(book, times[FIRST])
    arm = rollout_replay.replay(planned("predict", challenger("predict", BUYS)))["challenger"]
    known = outcomes["second"][FIRST - 24 : FIRST + 1 - 2]  # 25 bars up to the one that the book has reached
    assert sorted(arm.losses) == pytest.approx(sorted(-np.log([1e-12, 0.1, 0.9])[known].ravel()))


@pytest.mark.parametrize(("slot", "errors"), [("risk", 75), ("predict", 75)])
def test_a_challenger_that_raises_is_counted_and_the_champion_trades_on(book, times, challenger, slot, errors):
    run(book, times[FIRST])
    both = rollout_replay.replay(planned(slot, challenger(slot, BROKEN)))
    assert (both["challenger"].n_errors, both["challenger"].pnl_bps) == (errors, ())
    assert both["champion"].n_errors == 0
    assert both["champion"].pnl_bps


def test_history_that_a_replaying_book_has_not_reached_is_not_looked_at(book, times, challenger, monkeypatch):
    run(book, times[FIRST])
    seen = []
    data = rollout_replay._replay_data
    monkeypatch.setattr(rollout_replay, "_replay_data", lambda book: seen.append(data(book)) or seen[0])
    rollout_replay.replay(planned("risk", challenger("risk", SAME["risk"])))
    assert seen[0].bars.ts[-1].item().replace(tzinfo=None) == times[FIRST].replace(tzinfo=None)


@pytest.mark.parametrize(
    ("unseen", "judged", "seen"),
    [(300, 120, 0), (80, 80, 0), (60, 60, 0), (59, 120, 61), (0, 120, 120)],
    ids=["none seen", "enough behind", "just enough", "too few behind", "all seen"],
)
def test_bars_that_the_model_was_trained_on_are_not_judged_or_counted(
    book, times, challenger, monkeypatch, unseen, judged, seen
):
    monkeypatch.setattr(rollout_replay, "N_BARS", 120)
    MLModel.objects.update(trained_to=times[FIRST - unseen])
    run(book, times[FIRST])
    both = rollout_replay.replay(planned("risk", challenger("risk", SAME["risk"])))
    assert {(arm.n_bars, arm.n_seen, arm.n_decisions) for arm in both.values()} == {
        (judged, seen, judged * len(SYMBOLS))
    }


def test_only_models_that_serve_the_book_count_as_having_seen_its_bars(book, times, challenger, tmp_path):
    networks.serve(tmp_path, *SYMBOLS, name="second", trained_to=times[-1].isoformat())
    MLModel.objects.filter(name="second").update(role="challenger")
    MLModel.objects.filter(name="first").update(role="champion")
    run(book, times[FIRST])
    row = planned("risk", challenger("risk", SAME["risk"]))
    assert rollout_replay.replay(row)["champion"].n_seen == 0
    book.flag_overrides = {"neural_network_v2": ["IBM"]}
    book.save()
    assert rollout_replay.replay(row)["champion"].n_seen == 25


def test_a_strategy_is_replayed_against_the_tiers(book, times):
    run(book, times[FIRST])
    both = rollout_replay.replay(planned("desk", "buy_and_hold", kind="strategy"))
    assert both["challenger"].n_errors == 0
    assert both["challenger"].n_orders < both["champion"].n_orders
    assert both["challenger"].pnl_bps != both["champion"].pnl_bps
    assert both["challenger"].pnl_bps[0] != 0.0  # it holds from the replay's first bar on, whenever the book began


def test_a_strategy_that_looks_far_back_has_its_bars_in_a_replay(book, times, monkeypatch):
    asked = []

    def load(request, *, warmup, shortest, real=runs.load):
        asked.append(warmup)
        return real(request, warmup=warmup, shortest=shortest)

    def replayed(name, params=None):
        row = planned("desk", name, kind="strategy", params=params)
        rollout_replay.replay(row)
        services.abort(row.pk, actor="test")

    monkeypatch.setattr(rollout_replay.runs, "load", load)
    run(book, times[FIRST])
    replayed("buy_and_hold")
    longest = {"fast": 2, "slow": asked[0] + 20}
    replayed("sma_cross", longest)
    book_strategy.promote("desk", "sma_cross", longest, actor="ana", reason="")
    replayed("buy_and_hold")
    assert asked[1:] == [asked[0] + 21] * 2


def walk(symbol, timeframe, closes):
    """A random walk that closes at these times."""
    made = make_bars((symbol,), n_bars=len(closes), seed=5)
    return replace(made, timeframe=timeframe, ts=closes)


def closes_of(timeframe):
    """Times at which a stock's and a coin's bars close, the last ones in winter."""
    if timeframe == "1h":
        coin = np.datetime64("2024-01-08T00", "us") + np.arange(24 * 60) * np.timedelta64(1, "h")
        stock = coin[np.isin(coin.astype("datetime64[h]").astype(int) % 24, range(15, 22))]
    else:
        coin = np.datetime64("2022-01-08T00", "us") + np.arange(770) * np.timedelta64(1, "D")
        stock = coin + np.timedelta64(21, "h")
    return stock[np.is_busday(stock.astype("datetime64[D]"))], coin


BOTH = ("AAPL", "BTC-USDT")


@pytest.mark.parametrize(
    ("symbols", "timeframe", "a_day"),
    [(BOTH, "1h", 24), (BOTH[1:], "1h", 24), (BOTH[:1], "1h", 7), (BOTH, "1d", 617 / 365), (BOTH[:1], "1d", 1)],
)
def test_a_bar_of_a_replay_is_the_part_of_a_day_that_it_is_in_a_live_step(
    db, tmp_path, settings, challenger, symbols, timeframe, a_day
):
    """In a book of stocks and coins there are as many bars a day as the coins have, in daily bars the sessions' too."""
    settings.VAR_DIR = tmp_path
    instruments.ensure_instrument("AAPL", "equity")
    instruments.ensure_instrument("BTC-USDT", "crypto")
    session, day = closes_of(timeframe)
    for bars in (walk("AAPL", timeframe, session), walk("BTC-USDT", timeframe, day)):
        market.upsert_bars(bars, source="test")
    networks.serve(tmp_path, *symbols, name="bars", timeframe=timeframe)
    book = books.create_book(
        "bars",
        mode="replay",
        timeframe=timeframe,
        symbols=[*symbols],
        initial_cash=Decimal(100_000),
        fee_bps=Decimal(5),
        slippage_bps=Decimal(2),
        replay_from=utc(session[-30]),
        replay_until=utc(session[-1]),
    )
    row = planned("risk", challenger("risk", SAME["risk"]))
    replayed = rollout_replay.replay(row)
    assert {arm.rows_a_day for arm in replayed.values()} == {a_day}
    row = roll_out("module", "execute", challenger("execute", SAME["execute"]))
    run(book, utc(session[-30]))
    assert RolloutDecision.objects.exists()
    shadow = measures.measure(row.pk, row.step, row.measured_since)
    assert {arm.rows_a_day for arm in shadow.values()} == {a_day}
    RolloutDecision.objects.update(shadow=False)
    live = measures.measure(row.pk, row.step, row.measured_since)
    assert {arm.rows_a_day for arm in live.values()} == {a_day}
    if symbols == BOTH:  # as if the stock had ended since the book was made, and before the step
        ended = utc(session[-30]) - timedelta(days=8)
        MarketOHLC.objects.filter(symbol="AAPL", bar_ts__gt=ended).delete()
        live = measures.measure(row.pk, row.step, row.measured_since)
        assert {arm.rows_a_day for arm in live.values()} == {24 if timeframe == "1h" else 1}


def test_what_cannot_be_replayed_says_why(book, challenger):
    with pytest.raises(Rejected, match="begin with a shadow step"):
        rollout_replay.replay(planned("ingest", challenger("ingest", SAME["ingest"])))
    row = planned("risk", challenger("risk", SAME["risk"]))
    MLModel.objects.all().delete()
    with pytest.raises(ModelMissing, match="train"):
        rollout_replay.replay(row)
    Book.objects.update(mode="live")
    row.books = ["gone"]
    with pytest.raises(Rejected, match="a replay needs a book, there is none of gone"):
        rollout_replay.replay(row)


def analysed(challenger):
    """A rollout whose replay step has been looked at once, and what was found."""
    row = planned("risk", challenger("risk", SAME["risk"]))
    services.start(row.pk, actor="test")
    services.advance(row.pk)
    row.refresh_from_db()
    analysis = row.analyses.get()
    return row, analysis


def test_a_replay_step_goes_on_to_shadow_mode_by_itself(book, times, challenger, django_capture_on_commit_callbacks):
    run(book, times[FIRST])
    row, analysis = analysed(challenger)
    assert (analysis.verdict, row.step) == ("Success", 1), analysis.reason


def test_a_replay_over_bars_that_were_seen_in_training_succeeds_no_step(
    book, times, challenger, django_capture_on_commit_callbacks
):
    MLModel.objects.update(trained_to=times[FIRST - 10])
    run(book, times[FIRST])
    row, analysis = analysed(challenger)
    assert (analysis.verdict, row.step) == ("Inconclusive", 0)
    assert analysis.reason == "15 of the 25 bars were seen in training: what they show is no evidence"
    assert analysis.numbers["arms"]["challenger"]["bars_seen_in_training"] == 15


@pytest.fixture
def asked(monkeypatch):
    """The messages of the worker of maintenance, each answered by a worker of cycles, by way of JSON."""
    messages = []

    def send(*, args, **_):
        messages.append(args)
        return SimpleNamespace(
            get=lambda timeout: json.loads(json.dumps(tasks.replay_rollout(*args))),
            forget=lambda: messages.append("over"),
        )

    monkeypatch.setenv("HELIOS_COMPONENT", "maintenance")
    monkeypatch.setattr(tasks.replay_rollout, "apply_async", send)
    return messages


def test_the_worker_of_maintenance_has_a_worker_of_cycles_replay(book, challenger, asked, monkeypatch):
    row = planned("risk", challenger("risk", SAME["risk"]))
    found = ArmMeasures(n_decisions=2, latency_ms=(1.5, 2.0), pnl_of=((0, "SPY"), (1, "SPY")))
    monkeypatch.setattr(rollout_replay, "replay", lambda _: {"champion": found, "challenger": found})
    assert providers.measure(row) == {"champion": found, "challenger": found}
    assert asked == [(row.pk,), "over"]


def test_what_a_worker_of_cycles_cannot_replay_is_told_as_it_says(book, challenger, asked):
    with pytest.raises(Rejected, match="ingest reads a venue"):
        providers.measure(planned("ingest", challenger("ingest", SAME["ingest"])))


def test_a_replay_that_no_worker_takes_is_told(book, challenger, asked, monkeypatch):
    def nobody(_):
        raise TookTooLong

    monkeypatch.setattr(tasks, "read", nobody)
    with pytest.raises(Rejected, match="a worker of queue default must replay within 200 s, none did"):
        providers.measure(planned("risk", challenger("risk", SAME["risk"])))
    assert asked[1:] == ["over"]
