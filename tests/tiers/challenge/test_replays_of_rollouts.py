"""Champion and challenger over stored history: the same bars, an account each, errors counted, time told."""

import json
from types import SimpleNamespace

import pytest
from celery.exceptions import TimeoutError as TookTooLong

from helios.errors import ModelMissing, Rejected
from helios.rollouts import providers, services
from helios.rollouts.core.measures import ArmMeasures
from tests.support.challengers import BROKEN, BUYS, SAME
from tests.tiers.challenge.conftest import FIRST, GUARDS, SYMBOLS, run
from tiers.research import rollout_replay, tasks
from trading.models import Book, MLModel

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


def test_a_strategy_is_replayed_against_the_tiers(book, times):
    run(book, times[FIRST])
    both = rollout_replay.replay(planned("desk", "buy_and_hold", kind="strategy"))
    assert both["challenger"].n_errors == 0
    assert both["challenger"].n_orders < both["champion"].n_orders
    assert both["challenger"].pnl_bps != both["champion"].pnl_bps


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


def test_a_replay_step_goes_on_to_shadow_mode_by_itself(book, times, challenger, django_capture_on_commit_callbacks):
    run(book, times[FIRST])
    row = planned("risk", challenger("risk", SAME["risk"]))
    services.start(row.pk, actor="test")
    services.advance(row.pk)
    row.refresh_from_db()
    analysis = row.analyses.get()
    assert (analysis.verdict, row.step) == ("Success", 1), analysis.reason


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
