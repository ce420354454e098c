"""What the tables say of both arms: money that was really made, hypothetical money in shadow mode, calibration."""

import math
from itertools import pairwise

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from helios.breakers import process
from helios.breakers.shared_state import SharedStore
from helios.rollouts.core import differences
from helios.rollouts.models import RolloutDecision
from tests.support.challengers import BROKEN, BUYS, SAME
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, let_second_serve, roll_out, run
from tiers.challenge import measures
from tiers.live import stages
from tiers.predict import labels
from trading.market.calendars import LONGEST_CLOSURE
from trading.models import MarketOHLC, Order, PaperOrder, PipelineCycle, PortfolioSnapshot, TradeExecution
from trading.orders import outbox
from trading.venues.base import Guarded
from trading.venues.paper.client import PaperVenue

pytestmark = pytest.mark.django_db
FORECAST = {"probability": [0.2, 0.3, 0.5], "model": "m", "horizon_bars": 5}


def measured(row):
    return measures.measure(row.pk, row.step, row.measured_since)


def test_a_rollout_without_decisions_measures_nothing(book, challenger):
    both = measured(roll_out("module", "predict", challenger("predict", BUYS)))
    assert (both["champion"].n_decisions, both["challenger"].pnl_bps) == (0, ())


def test_what_both_arms_made_is_what_the_book_made(book, times, challenger):
    row = roll_out("module", "predict", challenger("predict", SAME["predict"]), live=50)
    cycles = [run(book, ts) for ts in times[FIRST : FIRST + 6]]
    both = measured(row)
    made = sum(both["champion"].pnl_bps) + sum(both["challenger"].pnl_bps)
    equity = [float(cycle.snapshot.equity) for cycle in cycles]
    assert TradeExecution.objects.exists()
    plain = sum((after / before - 1.0) * 1e4 for before, after in pairwise(equity))
    assert made == pytest.approx(plain, abs=1e-6)  # fees and slippage included
    served = len(cycles[0].rollouts[0]["symbols"])
    assert len(both["challenger"].pnl_bps) == 5 * served  # the sixth bar's outcome is not known yet
    assert both["challenger"].n_decisions == 6 * served
    assert both["champion"].n_decisions == 6 * (len(SYMBOLS) - served)
    assert len(both["challenger"].latency_ms) == 6
    assert both["challenger"].exposure is not None
    assert both["challenger"].n_orders + both["champion"].n_orders == Order.objects.count()


def test_in_shadow_mode_both_arms_are_valued_by_what_they_alone_would_hold(book, times, challenger, bars):
    row = roll_out("module", "predict", challenger("predict", BUYS))
    for ts in times[FIRST : FIRST + 3]:
        run(book, ts)
    arm = measured(row)["challenger"]
    weight = 0.9 / len(SYMBOLS)  # buys 0.9, sells 0.0, in equal parts of the equity
    close = bars.close[FIRST : FIRST + 3]
    first = weight * (close[1] / close[0] - 1.0) * 1e4 - weight * 7.0  # 5 bps of fee, 2 of slippage
    second = weight * (close[2] / close[1] - 1.0) * 1e4
    assert arm.pnl_bps == pytest.approx([*first, *second])
    assert arm.exposure == pytest.approx(0.9)
    assert (arm.n_orders, arm.n_rejected) == (0, 0)


def test_in_shadow_a_symbol_that_has_ended_says_nothing(book, times, challenger, bars):
    MarketOHLC.objects.filter(symbol="IBM", bar_ts__gt=times[FIRST]).delete()
    row = roll_out("module", "predict", challenger("predict", BUYS))
    for ts in times[FIRST : FIRST + 9]:
        run(book, ts)
    n_ended = sum(ts - times[FIRST] > LONGEST_CLOSURE for ts in times[FIRST : FIRST + 8])
    assert n_ended > 0
    n_known = 8 * len(SYMBOLS) - 1 - n_ended  # what came of the last bar is never known
    found = measured(row)["challenger"]
    assert len(found.pnl_bps) == n_known
    n_decided = 9 * len(SYMBOLS) - sum(ts - times[FIRST] > LONGEST_CLOSURE for ts in times[FIRST : FIRST + 9])
    assert found.n_decisions == n_decided


def test_bars_that_the_book_has_not_reached_do_not_count(book, times, challenger):
    """A replay has its future in the table; what a rollout decides by must not."""
    row = roll_out("module", "predict", challenger("predict", BUYS))
    run(book, times[FIRST])
    arm = measured(row)["challenger"]
    assert (arm.n_decisions, arm.pnl_bps, arm.losses) == (len(SYMBOLS), (), ())


def test_forecasts_are_judged_once_their_horizon_has_passed(book, times, challenger, bars):
    row = roll_out("module", "predict", challenger("predict", BUYS))
    for ts in times[FIRST : FIRST + 8]:
        run(book, ts)
    arm = measured(row)["challenger"]
    outcome = labels.make(bars.close, horizon_bars=5, theta=0.5, volatility_bars=20).outcome[FIRST : FIRST + 3]
    probability = np.array([1e-12, 0.1, 0.9])
    plain = [-math.log(probability[outcome[i, j]]) for i in range(3) for j in range(len(SYMBOLS))]
    assert sorted(arm.losses) == pytest.approx(sorted(plain))  # three of eight bars are five bars old
    assert len(measured(row)["champion"].losses) == len(arm.losses)


@pytest.mark.parametrize("value", [None, {"horizon_bars": "x"}, [1]])
def test_what_a_worker_writes_of_a_symbol_without_bars_keeps_no_guard_from_looking(book, times, challenger, value):
    row = roll_out("module", "predict", challenger("predict", BUYS))
    run(book, times[FIRST])
    forged = RolloutDecision.objects.filter(arm="challenger").first()
    forged.pk, forged.symbol, forged.value = None, "NONE", value or forged.value
    forged.save(force_insert=True)
    assert measured(row)["challenger"].n_decisions == len(SYMBOLS)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *[([1], {}), ("x", {}), ({"weight": "1"}, {}), ({"weight": 0.1, "held": None}, {"weight": 0.1})],
        *[({"weight": 10**400}, {}), ({"horizon_bars": "5"}, {}), ({**FORECAST, "horizon_bars": "5"}, {})],
        *[(FORECAST, FORECAST), ({**FORECAST, "probability": [0.2, 0.8]}, {}), ({**FORECAST, "probability": 1}, {})],
        *[({**FORECAST, "probability": [0.2, 0.3, "x"]}, {}), ({"probability": FORECAST["probability"]}, {})],
        *[({**FORECAST, "model": 1}, {}), ({**FORECAST, "horizon_bars": 10**9}, {})],
    ],
)
def test_a_part_of_an_answer_in_another_shape_was_not_said(value, read):
    assert measures.said(value) == read


@pytest.mark.parametrize("weights", [[], {SYMBOLS[0]: "x"}, {SYMBOLS[0]: [1]}])
def test_a_snapshot_of_odd_shape_keeps_no_guard_from_looking(book, times, challenger, weights):
    row = roll_out("module", "predict", challenger("predict", SAME["predict"]), live=50)
    cycle = run(book, times[FIRST])
    PortfolioSnapshot.objects.filter(book=book).update(weights=weights)
    run(book, times[FIRST + 1])
    assert cycle.rollouts
    assert measured(row)["challenger"].n_decisions == 2 * len(cycle.rollouts[0]["symbols"])


def test_each_forecast_is_judged_by_the_labels_of_the_model_that_made_it(book, times, challenger, outcomes):
    row = roll_out("module", "predict", challenger("predict", BUYS))
    for place, ts in enumerate(times[FIRST : FIRST + 8]):
        if place == 4:
            let_second_serve(book)
        run(book, ts)
    for one in RolloutDecision.objects.filter(arm="challenger", symbol="AAPL"):  # that arm by the second all along
        RolloutDecision.objects.filter(pk=one.pk).update(value=one.value | {"model": "second", "horizon_bars": 2})

    def plain(arm, models):
        """Of eight bars those whose horizon has passed, each with the model that spoke."""
        said = {(one.bar_ts, one.symbol): one.value["probability"] for one in RolloutDecision.objects.filter(arm=arm)}
        return [
            -math.log(max(said[times[FIRST + i], symbol][outcomes[models(i, symbol)][FIRST + i, column]], 1e-12))
            for column, symbol in enumerate(SYMBOLS)
            for i in range(8)
            if i + {"first": 5, "second": 2}[models(i, symbol)] < 8
        ]

    both = measured(row)
    champions = plain("champion", lambda i, _: "first" if i < 4 else "second")
    others = plain("challenger", lambda i, symbol: "first" if i < 4 and symbol != "AAPL" else "second")
    assert (len(champions), len(others)) == (3 * (3 + 2), 6 + 2 * (3 + 2))
    assert sorted(both["champion"].losses) == pytest.approx(sorted(champions))
    assert sorted(both["challenger"].losses) == pytest.approx(sorted(others))


def test_arms_that_say_the_same_lose_the_same_however_hard_their_symbols_are(book, times, challenger):
    row = roll_out("module", "predict", challenger("predict", SAME["predict"]), live=50)
    for ts in times[FIRST : FIRST + 12]:
        run(book, ts)
    champion, arm = measured(row).values()
    assert {symbol for _, symbol in arm.losses_of} == set(SYMBOLS)  # each arm speaks of the other's symbols, too
    by_symbol = {s: [loss for loss, (_, of) in zip(arm.losses, arm.losses_of, strict=True) if of == s] for s in SYMBOLS}
    assert len({round(sum(losses), 6) for losses in by_symbol.values()}) == len(SYMBOLS)  # or this proves nothing
    found = differences.log_loss(champion, arm)
    assert (found.interval.estimate, found.interval.low, found.interval.high, found.n) == (0.0, 0.0, 0.0, 7)
    served = RolloutDecision.objects.filter(arm="challenger", shadow=False).count()
    assert (arm.n_decisions, champion.n_decisions) == (served, 12 * len(SYMBOLS) - served)


def test_forecasts_of_both_arms_are_compared_on_every_symbol(book, times, challenger):
    worse = BUYS.replace("out[known] = (0.0, 0.1, 0.9)", "out[known] = np.roll(out[known], 1, axis=1)")
    row = roll_out("module", "predict", challenger("predict", worse), live=50)
    for ts in times[FIRST : FIRST + 16]:
        run(book, ts)
    champion, arm = measured(row).values()
    harm = differences.log_loss(champion, arm)
    own = {of: loss for loss, of in zip(champion.losses, champion.losses_of, strict=True)}
    plain = [loss - own[of] for loss, of in zip(arm.losses, arm.losses_of, strict=True)]
    assert (len(plain), harm.n) == (11 * len(SYMBOLS), 11)
    assert harm.interval.estimate == pytest.approx(sum(plain) / len(plain))
    assert harm.interval.estimate > 0.1


def test_a_forecast_beside_that_of_an_arm_that_failed_is_not_kept(book, times, challenger):
    roll_out("module", "predict", challenger("predict", BROKEN), live=50)
    run(book, times[FIRST])
    assert RolloutDecision.objects.count() == len(SYMBOLS)
    assert not RolloutDecision.objects.filter(shadow=True).exists()


def test_errors_are_counted_and_earn_nothing(book, times, challenger):
    row = roll_out("module", "risk", challenger("risk", BROKEN), live=100)
    for ts in times[FIRST : FIRST + 2]:
        run(book, ts)
    both = measured(row)
    arm = both["challenger"]
    assert (arm.n_decisions, arm.n_errors, arm.pnl_bps, arm.exposure) == (6, 6, (), None)
    assert both["champion"].n_decisions == 0


def test_rejected_orders_belong_to_the_arm_of_their_symbol(book, times, challenger):
    row = roll_out("module", "portfolio", challenger("portfolio", SAME["portfolio"]), live=50)
    cycle = run(book, times[FIRST])
    served = cycle.rollouts[0]["symbols"]
    ordered = set(Order.objects.values_list("symbol", flat=True))
    Order.objects.filter(symbol__in=served).update(status="REJECTED")
    both = measured(row)
    assert both["challenger"].n_rejected == both["challenger"].n_orders == len(ordered & set(served))
    assert (both["champion"].n_rejected, both["champion"].n_orders) == (0, len(ordered - set(served)))


def test_without_the_shared_state_orders_wait_are_withheld_in_the_end_and_say_nothing_about_an_arm(
    book, times, challenger, monkeypatch, tmp_path
):
    process.current().__dict__["store"] = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
    guarded = Guarded(venue=PaperVenue(), breaker="valr_api", reduces=outbox.reduces)
    monkeypatch.setattr(outbox, "venue_for", lambda _book: guarded)
    row = roll_out("module", "portfolio", challenger("portfolio", SAME["portfolio"]), live=50)
    cycle = run(book, times[FIRST])
    assert (cycle.status, set(Order.objects.values_list("status", flat=True))) == ("RUNNING", {"NEW"})
    monkeypatch.setattr(stages, "late_now", lambda *_: True)
    stages.finish(cycle.pk)
    assert {order.status for order in Order.objects.all()} == {"WITHHELD"}
    assert all("orders are not sent without it" in order.reason for order in Order.objects.all())
    assert not PaperOrder.objects.exists()
    assert {(arm.n_rejected, arm.n_orders) for arm in measured(row).values()} == {(0, 0)}


def test_an_order_that_ended_before_it_left_says_nothing_about_an_arm(book, times, challenger):
    row = roll_out("module", "portfolio", challenger("portfolio", SAME["portfolio"]), live=50)
    run(book, times[FIRST])
    assert sum(arm.n_orders for arm in measured(row).values()) == Order.objects.count() > 0
    Order.objects.update(status="CANCELLED", sending_at=None)  # superseded while it waited
    assert {(arm.n_rejected, arm.n_orders) for arm in measured(row).values()} == {(0, 0)}


def test_the_number_of_queries_does_not_grow_with_the_decisions(book, times, challenger):
    row = roll_out("module", "predict", challenger("predict", SAME["predict"]), live=50)
    counts = []
    for ts in times[FIRST : FIRST + 7]:
        run(book, ts)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            measured(row)
        counts.append(len(queries))
    assert counts[-1] == counts[1] <= 10


@pytest.mark.parametrize("slot", ["risk", "portfolio", "execute", "features", "llm", "ingest"])
def test_every_stage_can_be_measured_in_shadow_mode(book, times, challenger, slot):
    row = roll_out("module", slot, challenger(slot, SAME[slot]))
    for ts in times[FIRST : FIRST + 3]:
        run(book, ts)
    both = measured(row)
    assert both["champion"].n_decisions == both["challenger"].n_decisions == 9
    assert both["champion"].pnl_bps == both["challenger"].pnl_bps
    assert len(both["challenger"].pnl_bps) == (0 if slot in ("ingest", "features", "llm") else 6)


def test_hard_guards_act_after_the_cycle_that_broke_them(book, times, challenger):
    from helios.rollouts import services

    label = challenger("risk", BROKEN)
    row = services.create(
        "bad", kind="module", target="risk", challenger=label, steps=[{"kind": "live", "percentage": 100}], actor="test"
    )
    services.start(row.pk, actor="test")
    assert run(book, times[FIRST]).status == "DONE"
    row.refresh_from_db()
    assert row.state == "ROLLED_BACK"
    assert "exception" in row.reason
    assert run(book, times[FIRST + 1]).rollouts == []
    assert PipelineCycle.objects.filter(status="DONE").count() == 2


def earned(before, value, **changes):
    """What an answer earns in shadow; it costs 100 bps to go anywhere, and the price stands still."""
    made = measures.Decision(
        **{**dict.fromkeys(("arm", "symbol", "timeframe", "bar_ts", "latency_ms", "calendar"), ""), **changes},
        **dict.fromkeys(("book_id", "cycle_id", "n_orders", "n_rejected"), 0),
        **dict.fromkeys(("shadow", "failed", "both"), False),
        value=value,
        following=changes["close"],
        cost_bps=100.0,
    )
    return measures._hypothetical(made, before)[1]


@pytest.mark.parametrize("value", [{"weight": 0.2}, {}], ids=["a weight", "no answer for want of a bar"])
def test_in_shadow_a_listed_symbol_earns_nothing_where_it_has_no_bar(value):
    """So each instant of a book of stocks and coins is of all its symbols; one that is not there yet counts none."""
    before = {("", 0, ""): 0.1}
    assert earned(before, value, close=None, listed=True) == 0.0
    assert earned(before, value, close=None, listed=False) is None
    assert before == {("", 0, ""): 0.1}  # and nobody went anywhere


def test_in_shadow_the_way_begins_where_the_answer_says_that_it_was_asked_from():
    assert earned({}, {"weight": 0.25, "held": 0.25}, close=9.0, listed=True) == 0.0
    assert earned({}, {"weight": 0.0, "held": 0.25}, close=9.0, listed=True) == pytest.approx(-25.0)
    assert earned({}, {"weight": 0.25}, close=9.0, listed=True) == pytest.approx(-25.0)
    assert earned({("", 0, ""): 0.25}, {"weight": 0.25}, close=9.0, listed=True) == 0.0
