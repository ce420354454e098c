"""A strategy in the place of tier 6: for the symbols of its arm, then for the whole book, always within the bounds."""

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from helios.errors import Rejected
from helios.events.models import SystemEvent
from helios.modules import process as modules
from helios.rollouts import targets
from helios.rollouts.models import RolloutDecision
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, orders_of, roll_out, run
from tiers.challenge import measures
from tiers.live import book_strategy, lookback, store
from trading.models import Book, MarketOHLC
from trading.strategies import BuyAndHold, SmaCross, registry

pytestmark = pytest.mark.django_db
NAN = float("nan")


def walk(n_bars, n_symbols=3, seed=1):
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0003, 0.02, (n_bars, n_symbols)), axis=0))


def test_the_label_names_the_parameters():
    assert registry.label("sma_cross", {"fast": 5}) == "sma_cross(fast=5, slow=50)"
    assert registry.label("buy_and_hold", {}) == "buy_and_hold"
    assert registry.label("helios", {}) == "helios"


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("momentum", {}, "a strategy must be one of buy_and_hold, sma_cross, was 'momentum'"),
        ("sma_cross", {"fast": 9, "slow": 3}, "1 <= fast < slow"),
        ("sma_cross", {"speed": 9}, "sma_cross takes fast, slow, was given 'speed'"),
        ("sma_cross", {"fast": "9"}, "fast of sma_cross must be a whole number, was '9'"),
        ("buy_and_hold", {"fast": 9}, "buy_and_hold takes no parameters, was given 'fast'"),
        ("sma_cross", {"fast": 9, "slow": 90_000}, "sma_cross must need 2,000 bars at most, needs 90,001"),
        ("helios", {}, "helios serves book 'desk' already"),
        ("helios", {"k" * 900: 1}, "helios takes no parameters, was given 'kkk"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_a_sentence(book, name, params, told):
    with pytest.raises(Rejected, match=told.replace("(", r"\(").replace(")", r"\)")):
        book_strategy.check("desk", name, params)


def test_a_book_that_does_not_exist_cannot_be_challenged():
    with pytest.raises(Rejected, match="book 'gone' does not exist"):
        book_strategy.check("gone", "buy_and_hold", {})


def test_a_promoted_strategy_serves_the_book_and_can_be_left_again(book):
    assert book_strategy.check("desk", "sma_cross", {"fast": 5, "slow": 20}) == "helios"
    book_strategy.promote("desk", "sma_cross", {"fast": 5, "slow": 20}, actor="ana", reason="it won")
    assert book_strategy.check("desk", "helios", {}) == "sma_cross(fast=5, slow=20)"
    told = SystemEvent.objects.get(kind="strategy.promoted").data
    assert told == {"before": "helios", "after": "sma_cross(fast=5, slow=20)", "actor": "ana", "reason": "it won"}
    book_strategy.promote("desk", "helios", {}, actor="ana", reason="it lost")
    book.refresh_from_db()
    assert book.strategy == {}


def test_promoting_what_serves_already_changes_nothing(book):
    for _ in range(2):
        book_strategy.promote("desk", "buy_and_hold", {}, actor="ana", reason="")
    assert SystemEvent.objects.filter(kind="strategy.promoted").count() == 1


def test_a_symbol_is_brought_to_the_state_it_should_be_in_and_then_drifts():
    close = walk(80, 1)
    strategy = BuyAndHold()
    assert book_strategy.wanted_weights(strategy, close, np.array([0.0])).tolist() == [1.0]
    assert book_strategy.wanted_weights(strategy, close, np.array([0.37])).tolist() == [0.37]


@pytest.mark.parametrize("n_bars", [21, 22, 40, 300])
def test_what_should_not_be_held_is_sold_however_far_the_window_reaches(n_bars):
    """The averages have been below each other since before the window began."""
    falling = np.linspace(200, 100, 300)[:, None]
    assert book_strategy.wanted_weights(SmaCross(fast=5, slow=20), falling[-n_bars:], np.array([0.3])).tolist() == [0.0]


@pytest.mark.parametrize("n_bars", [3, 50, 300])
def test_a_younger_symbol_gets_its_part_however_far_the_window_reaches(n_bars):
    close = np.stack([np.linspace(100, 300, 300), np.full(300, NAN), np.full(300, 7.0)], axis=1)
    close[299, 1], close[298, 2] = 5.0, NAN  # one is listed now, one has no bar in between
    wanted = book_strategy.wanted_weights(BuyAndHold(), close[-n_bars:], np.array([0.5, 0.0, 0.2]))
    assert wanted.tolist() == pytest.approx([0.5, 1 / 3, 0.2], abs=0.002)
    close[-4:, 1], close[100:, 2] = 5.0, NAN  # and one that has ended long ago
    wanted = book_strategy.wanted_weights(BuyAndHold(), close[-n_bars:], np.array([0.5, 0.0, 0.2]))
    assert wanted.tolist() == pytest.approx([0.5, 1 / 3, 0.2], abs=0.002)


def test_a_symbol_that_the_strategy_cannot_judge_keeps_its_weight():
    close = np.full((30, 2), NAN)
    close[:, 0] = walk(30, 1)[:, 0]
    assert book_strategy.wanted_weights(BuyAndHold(), close, np.array([0.1, 0.2])).tolist() == [0.1, 0.2]
    assert book_strategy.wanted_weights(SmaCross(fast=5, slow=40), close, np.array([0.1, 0.2])).tolist() == [0.1, 0.2]


@pytest.mark.parametrize("seed", range(5))
def test_a_live_window_asks_for_what_the_whole_history_asks_for(seed):
    """Wanted weights from a short window equal those of the batch, bar by bar, for a book that follows them."""
    strategy, close = SmaCross(fast=3, slow=10), walk(120, seed=seed)
    batch, held = strategy.weights(close), np.zeros(3)
    for row in range(30, 120):
        short = book_strategy.wanted_weights(strategy, close[row - 15 : row + 1], held)
        whole = book_strategy.wanted_weights(strategy, close[: row + 1], held)
        np.testing.assert_array_equal(short, whole)
        asked = ~np.isnan(batch[row])
        np.testing.assert_array_equal(whole[asked], batch[row][asked])
        held = whole


def test_a_challenging_strategy_decides_its_symbols_within_the_bounds_of_the_risk_decision(book, times):
    row = roll_out("strategy", "desk", "buy_and_hold", live=50)
    cycle = run(book, times[FIRST])
    served = set(cycle.rollouts[0]["symbols"])
    targets, risk = store.load_targets(cycle), store.load_risk(cycle)
    mine = np.array([symbol in served for symbol in targets.symbols])
    assert (targets.weights[mine] <= np.minimum(risk.max_weight, 1 / 3)[mine] + 1e-9).all()
    assert targets.weights[mine].sum() > 0
    assert targets.weights.sum() <= risk.leverage + 1e-9
    rows = RolloutDecision.objects.filter(rollout=row, arm="challenger")
    assert {r.symbol for r in rows} == served
    assert {r.error for r in rows} == {""}


@pytest.mark.parametrize("component", ["maintenance", "web"])
def test_processes_that_load_no_module_ask_what_serves_a_book(book, monkeypatch, component):
    """The worker of maintenance advances rollouts, and the web makes and resumes them."""
    monkeypatch.setenv("HELIOS_COMPONENT", component)
    monkeypatch.setattr(modules, "resolve", None)
    row = roll_out("strategy", "desk", "sma_cross", params={"fast": 5, "slow": 20})
    assert targets.champion(row) == row.champion == "helios"


def test_the_window_of_a_cycle_reaches_as_far_as_its_strategies(desk, times, monkeypatch):
    wanted = []

    def load(symbols, asked, bar_ts, real=lookback.load):
        wanted.append(asked["1d"])
        return real(symbols, asked, bar_ts)

    monkeypatch.setattr(lookback, "load", load)
    book = desk("desk")
    run(book, times[FIRST])
    before = max(wanted)
    roll_out("strategy", "desk", "sma_cross", params={"fast": 2, "slow": before + 20})
    run(book, times[FIRST + 1])
    assert max(wanted) == before + 21


def test_a_strategy_in_shadow_mode_sends_no_order(desk, times):
    calm, tried = desk("calm"), desk("desk")
    run(calm, times[FIRST])
    roll_out("strategy", "desk", "sma_cross", params={"fast": 5, "slow": 20})
    run(tried, times[FIRST])
    assert orders_of(tried) == orders_of(calm)
    assert RolloutDecision.objects.filter(arm="challenger", shadow=True).count() == len(SYMBOLS)


def shadowed(row, name):
    """(n_bars, n_symbols) what was kept of the challenger's answers."""
    rows = RolloutDecision.objects.filter(rollout=row, arm="challenger").order_by("bar_ts", "symbol")
    assert {each.error for each in rows} == {""}
    return np.array([each.value[name] for each in rows]).reshape(-1, len(SYMBOLS))


@pytest.mark.parametrize(
    ("champion", "challenger"),
    [
        (("helios", {}), ("buy_and_hold", {})),
        (("helios", {}), ("sma_cross", {"fast": 2, "slow": 5})),
        (("sma_cross", {"fast": 2, "slow": 5}), ("helios", {})),
        (("sma_cross", {"fast": 2, "slow": 5}), ("buy_and_hold", {})),
    ],
)
def test_in_shadow_a_strategy_goes_on_from_what_its_own_answers_led_to(desk, times, champion, challenger):
    """Its weights are those of a book that it alone serves, up to what a fill at the next open makes of them."""
    alone, tried = desk("alone"), desk("desk")
    for book, (name, params) in ((alone, challenger), (tried, champion)):
        book_strategy.promote(book.name, name, params, actor="ana", reason="")
        book.refresh_from_db()
    row = roll_out("strategy", "desk", challenger[0], params=challenger[1])
    own, champions = [], []
    for ts in times[FIRST : FIRST + 10]:
        own.append(store.load_targets(run(alone, ts)).weights)
        champions.append(store.load_targets(run(tried, ts)).weights)
    assert np.abs(np.array(champions) - own).max() > 0.05  # or this proves nothing
    np.testing.assert_allclose(shadowed(row, "weight"), own, atol=0.012)


def test_what_a_strategy_holds_in_shadow_drifts_with_prices_and_only_its_own_trades_cost(book, times, bars):
    row = roll_out("strategy", "desk", "buy_and_hold")
    for ts in times[FIRST : FIRST + 8]:
        run(book, ts)
    weights, held = shadowed(row, "weight"), shadowed(row, "held")
    assert not held[0].any()
    growth = bars.close[FIRST + 1 : FIRST + 8] / bars.close[FIRST : FIRST + 7]
    grown = weights[:-1] * growth
    np.testing.assert_allclose(held[1:], grown / (1 + (grown - weights[:-1]).sum(axis=1, keepdims=True)), atol=1e-9)
    assert np.abs(weights[3:] - held[3:]).max() < 1e-5  # bought within two bars, then held
    earned = weights[:-1] * (growth - 1) * 1e4 - np.abs(weights - held)[:-1] * 7.0
    both = measures.measure(row.pk, row.step, row.measured_since)
    assert both["challenger"].pnl_bps == pytest.approx(earned.ravel().tolist(), abs=1e-6)


def test_what_a_strategy_holds_in_shadow_is_asked_for_in_one_query(book, times):
    roll_out("strategy", "desk", "buy_and_hold")
    run(book, times[FIRST])
    with CaptureQueriesContext(connection) as queries:
        run(book, times[FIRST + 1])
    asked = [q["sql"] for q in queries if q["sql"].startswith("SELECT") and '"rollout_decisions"' in q["sql"]]
    assert len(asked) == 1


def test_a_rollout_of_one_books_strategy_leaves_other_books_alone(desk, times):
    desk("desk")
    other = desk("other")
    roll_out("strategy", "desk", "buy_and_hold", live=100)
    run(other, times[FIRST])
    assert not RolloutDecision.objects.exists()


def test_a_promoted_strategy_decides_every_weight(book, times):
    book_strategy.promote("desk", "buy_and_hold", {}, actor="ana", reason="")
    book.refresh_from_db()
    cycle = run(book, times[FIRST])
    targets = store.load_targets(cycle)
    assert targets.method == "buy_and_hold"
    assert targets.weights.sum() == pytest.approx(min(0.5, store.load_risk(cycle).leverage), abs=1e-5)  # its turnover
    assert len(set(targets.weights.tolist())) == 1


@pytest.mark.parametrize(
    ("kept", "part"), [(slice(0, FIRST - 9), 1 / 2), (slice(0, FIRST - 2), 1 / 3), (slice(FIRST + 1, None), 1 / 3)]
)
def test_a_name_that_ended_before_the_book_began_takes_no_part_of_a_strategys_money(book, times, kept, part):
    """One that has no bar yet, or none just now, waits for its own."""
    book_strategy.promote("desk", "buy_and_hold", {}, actor="ana", reason="")
    MarketOHLC.objects.filter(symbol="IBM").exclude(bar_ts__in=times[kept]).delete()
    Book.objects.filter(pk=book.pk).update(params={"portfolio": {"max_turnover": 2.0}, "risk": {"max_weight": 1.0}})
    book.refresh_from_db()
    cycle = run(book, times[FIRST])
    weights, leverage = store.load_targets(cycle).weights, store.load_risk(cycle).leverage
    assert weights[1] == 0.0
    assert weights[0] == weights[2] == pytest.approx(min(part, leverage / 2), abs=1e-5)
    assert part <= leverage / 2 or part == 1 / 2


def test_the_tiers_can_challenge_a_strategy(book, times):
    book_strategy.promote("desk", "buy_and_hold", {}, actor="ana", reason="")
    book.refresh_from_db()
    roll_out("strategy", "desk", "helios", live=100)
    with_tiers = store.load_targets(run(book, times[FIRST]))
    assert len(set(with_tiers.weights.tolist())) > 1
