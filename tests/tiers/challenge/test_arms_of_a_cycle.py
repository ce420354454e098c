"""Champion and challenger in cycles that run: who decides, what is kept, and that no challenger can do harm."""

import pytest

from helios.modules import process
from helios.rollouts.models import RolloutDecision
from tests.support.challengers import BROKEN, BUYS, SAME, SLOTS
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, decided, orders_of, roll_out, run
from tiers.challenge import arms
from tiers.live import store
from trading.models import LedgerEntry, Stage

pytestmark = pytest.mark.django_db


ASKS_WRONGLY = """
from django.db import connection
def run(*args, **named):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
"""
TAKES_TOO_LONG = ASKS_WRONGLY.replace("SELECT 1 / 0", "SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)")


def arm(slot, name="challenger", *, shadow=False):
    return RolloutDecision.objects.filter(arm=name, shadow=shadow).order_by("symbol")


def test_without_a_rollout_nothing_is_recorded(book, times):
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.rollouts) == ("DONE", [])
    assert not RolloutDecision.objects.exists()
    assert "arms" not in LedgerEntry.objects.get(kind="predict").payload
    assert orders_of(book)  # or the tests below prove nothing


def test_the_rollouts_of_a_cycle_are_pinned_at_its_start(book, times, challenger):
    label = challenger("predict", SAME["predict"])
    row = roll_out("module", "predict", label, live=50)
    cycle = run(book, times[FIRST], upto=Stage.INGEST)
    pinned = cycle.rollouts[0]
    assert (pinned["rollout_id"], pinned["challenger"], pinned["mode"]) == (row.pk, label, "live")
    assert 0 < len(pinned["symbols"]) < len(SYMBOLS)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_challenger_that_agrees_changes_nothing_at_any_share(calm, book, times, challenger, slot):
    expected = calm(2)
    roll_out("module", slot, challenger(slot, SAME[slot]), live=50)
    cycles = [run(book, ts) for ts in times[FIRST : FIRST + 2]]
    assert {cycle.status for cycle in cycles} == {"DONE"}
    assert orders_of(book) == expected.orders
    assert orders_of(book)
    assert [decided(cycle) for cycle in cycles] == expected.cycles
    assert {row.error for row in RolloutDecision.objects.all()} <= {""}


@pytest.mark.parametrize(("slot", "source"), [("predict", BUYS), ("risk", BROKEN)])
def test_a_shadow_is_recorded_and_changes_nothing(calm, book, times, challenger, slot, source):
    expected = calm(3)
    roll_out("module", slot, challenger(slot, source))
    for ts in times[FIRST : FIRST + 3]:
        run(book, ts)
    assert orders_of(book) == expected.orders
    rows = RolloutDecision.objects.all()
    assert {row.shadow for row in rows} == {True}
    assert [(n, rows.filter(arm=n).count()) for n in ("champion", "challenger")] == [("champion", 9), ("challenger", 9)]


def test_each_arm_serves_its_symbols(book, times, challenger):
    roll_out("module", "predict", challenger("predict", BUYS), live=50)
    cycle = run(book, times[FIRST])
    served = set(cycle.rollouts[0]["symbols"])
    forecast = store.load_forecast(cycle, SYMBOLS)
    assert {s for s, row in zip(SYMBOLS, forecast.probability, strict=True) if row[2] == 0.9} == served
    assert {row.symbol for row in arm("predict")} == served
    assert {row.symbol for row in arm("predict", "champion")} == set(SYMBOLS) - served
    assert all(row.value["probability"] == [0.0, 0.1, 0.9] for row in arm("predict"))
    beside = {name: arm("predict", name, shadow=True) for name in ("champion", "challenger")}
    assert {name: {row.symbol for row in rows} for name, rows in beside.items()} == {
        "champion": served,
        "challenger": set(SYMBOLS) - served,
    }
    assert all(row.value.keys() == {"probability", "horizon_bars", "model"} for row in beside["champion"])
    assert {row.latency_ms for rows in beside.values() for row in rows} == {None}
    assert all(row.latency_ms > 0 and row.error == "" and not row.shadow for row in arm("predict"))
    assert LedgerEntry.objects.get(kind="predict").payload["arms"][0]["symbols"] == sorted(served)


@pytest.mark.parametrize("slot", SLOTS)
def test_the_champion_serves_the_symbols_of_a_challenger_that_fails(calm, book, times, challenger, slot):
    expected = calm(1)
    roll_out("module", slot, challenger(slot, BROKEN), live=100)
    cycle = run(book, times[FIRST])
    assert cycle.status == "DONE"
    assert orders_of(book) == expected.orders
    assert {row.error for row in arm(slot)} == {"RuntimeError: the new code is broken"}
    assert arm(slot).count() == len(SYMBOLS)


@pytest.mark.parametrize(
    ("slot", "source", "told"),
    [
        ("features", ASKS_WRONGLY, "DataError: division by zero"),
        ("predict", ASKS_WRONGLY, "DataError: division by zero"),
        ("execute", ASKS_WRONGLY, "DataError: division by zero"),
        ("portfolio", TAKES_TOO_LONG, "OperationalError: canceling statement due to statement timeout"),
    ],
)
def test_a_database_error_of_a_challenger_leaves_the_champions_stage_its_transaction(
    book, times, challenger, slot, source, told
):
    roll_out("module", slot, challenger(slot, source), live=100)
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    assert {row.error for row in arm(slot)} == {told}
    assert orders_of(book)


def test_a_challenger_that_cannot_even_be_loaded_for_a_database_error_is_an_error_of_its_own(book, times, challenger):
    label = challenger("risk", ASKS_WRONGLY + "on_load = run\n")
    roll_out("module", "risk", label, live=100)
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    assert all("on_load: DataError: division by zero" in row.error for row in arm("risk"))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def run(p, f):\n    return f[:, :, :2].copy()\n", "predict must be float64"),
        ("import numpy as np\ndef run(p, f):\n    return np.full((*f.shape[:2], 3), 0.5)\n", "sum to 1"),
        ("def run(p, f):\n    raise SystemExit('bye')\n", "SystemExit: bye"),
        ("def run(p, f):\n    while True:\n        pass\n", "must answer within 0.2 s"),
    ],
)
def test_whatever_a_challenger_does_becomes_its_own_error(book, times, challenger, monkeypatch, source, told):
    if "0.2 s" in told:  # on a busy machine the others need longer
        monkeypatch.setattr(arms, "TIME_LIMIT_S", 0.2)
    roll_out("module", "predict", challenger("predict", source), live=100)
    cycle = run(book, times[FIRST])
    assert cycle.status == "DONE"
    assert all(told in row.error for row in arm("predict"))
    assert cycle.stage_runs.get(stage="predict").fallback == ""
    assert orders_of(book)


def test_a_challenger_that_writes_into_its_input_changes_nothing_for_the_champion(calm, book, times, challenger):
    expected = calm(1)
    source = """
from tiers.risk import run as base
def run(**named):
    for part in (named["forecast"].probability, named["returns"], named["volatility"].sigma):
        part[:] = 0.5
    return base(**named)
"""
    roll_out("module", "risk", challenger("risk", source))
    run(book, times[FIRST])
    assert orders_of(book) == expected.orders
    assert {row.error for row in arm("risk", shadow=True)} == {""}


def test_a_challenger_that_cannot_be_loaded_is_an_error_of_its_own(book, times, challenger):
    label = challenger("portfolio", "def run(**named):\n    return None\nraise ImportError('no such library')\n")
    roll_out("module", "portfolio", label, live=100)
    assert run(book, times[FIRST]).status == "DONE"
    assert all("no such library" in row.error for row in arm("portfolio"))


def test_a_whole_book_takes_one_arm_in_stages_that_answer_for_it(desk, times, challenger):
    label = challenger(
        "llm",
        "from dataclasses import replace\nfrom tiers.llm import run as base\ndef run(context):\n"
        "    return replace(base(context), risk_multiplier=0.0, reasoning='careful')\n",
    )
    roll_out("module", "llm", label, live=50)
    made = [desk(f"book-{number}") for number in range(6)]
    cycles = [run(book, times[FIRST]) for book in made]
    careful = {cycle.book.name for cycle in cycles if store.load_view(cycle).reasoning == "careful"}
    assert 0 < len(careful) < 6
    rows = RolloutDecision.objects.all()
    by_arm = {name: {row.cycle_id for row in rows.filter(arm=name)} for name in ("champion", "challenger")}
    assert by_arm["challenger"] == {cycle.pk for cycle in cycles if cycle.book.name in careful}
    assert not by_arm["challenger"] & by_arm["champion"]
    assert rows.count() == 6 * len(SYMBOLS)


def test_without_a_model_no_arm_has_anything_to_say(book, times, challenger):
    from trading.models import MLModel

    MLModel.objects.all().delete()
    roll_out("module", "predict", challenger("predict", BUYS), live=100)
    cycle = run(book, times[FIRST])
    assert cycle.stage_runs.get(stage="predict").fallback == "neutral_forecast"
    assert not RolloutDecision.objects.exists()


def test_an_aborted_rollout_is_gone_from_the_next_cycle_on(book, times, challenger):
    from helios.rollouts import services

    row = roll_out("module", "predict", challenger("predict", BUYS), live=100)
    first = run(book, times[FIRST], upto=Stage.PREDICT)
    services.abort(row.pk, actor="test", reason="enough")
    from tests.tiers.challenge.conftest import finish

    assert store.load_forecast(finish(first), SYMBOLS).probability[0, 2] == 0.9  # it had begun with the challenger
    second = run(book, times[FIRST + 1])
    assert second.rollouts == []
    assert store.load_forecast(second, SYMBOLS).probability[0, 2] != 0.9
    assert second.modules == process.pins()
