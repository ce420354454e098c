"""Rows of features belong to the version that made them: no other version, and no other book, decides on them."""

import pytest
from django.db import transaction

from helios.modules import services as modules
from helios.modules.gate import runs
from helios.rollouts import services as rollouts
from tests.support.challengers import BROKEN
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, roll_out, run
from tiers.live import inference, store
from trading.models import EngineeredFeatures, Stage

pytestmark = pytest.mark.django_db
STILL = "from tiers.features import run as base\ndef run(bars):\n    return base(bars) * 0.0 + 1.0\n"
SECOND = "1.2.0"


@pytest.fixture
def alone(desk):
    """What a desk of the champion alone forecasts at a bar, and nothing stays of it."""

    def forecast(ts):
        with transaction.atomic():
            said = forecasts(run(desk("alone"), ts, upto=Stage.RISK))
            transaction.set_rollback(True)
        return said

    return forecast


def forecasts(cycle):
    return store.load_forecast(cycle, SYMBOLS).probability.tolist()


def served_by(cycle):
    return cycle.stage_runs.get(stage="features").module_version


def stored(version):
    return EngineeredFeatures.objects.filter(version=version)


def test_a_cycle_is_decided_on_the_rows_of_its_own_version(desk, times, challenger, alone):
    expected = [alone(ts) for ts in times[FIRST : FIRST + 2]]
    label = challenger("features", STILL)
    row = roll_out("module", "features", label, live=100)
    tried = desk("tried")
    first = run(tried, times[FIRST])
    assert served_by(first) == label
    assert stored(label).count() == EngineeredFeatures.objects.count() == 3 * inference.receptive_bars(tried)
    assert forecasts(first) != expected[0]
    rollouts.abort(row.pk, actor="test", reason="enough")
    assert [forecasts(run(desk("calm"), times[FIRST])), forecasts(run(tried, times[FIRST + 1]))] == expected


def test_the_rows_of_a_shadow_are_never_stored(desk, times, challenger, alone):
    expected = alone(times[FIRST])
    label = challenger("features", STILL)
    roll_out("module", "features", label)
    cycle = run(desk("tried"), times[FIRST])
    assert served_by(cycle) == cycle.modules["features"] != label
    assert not stored(label).exists()
    assert forecasts(cycle) == expected


def test_books_of_one_version_share_its_rows(desk, times):
    run(desk("one"), times[FIRST])
    rows = EngineeredFeatures.objects.count()
    cycle = run(desk("two"), times[FIRST])
    assert EngineeredFeatures.objects.count() == rows
    assert cycle.ledger.get(kind="features").payload["rows"] == 0


def test_after_a_swap_and_after_its_roll_back_the_other_versions_rows_are_not_read(
    book, times, challenger, alone, monkeypatch
):
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "")
    expected = [alone(ts) for ts in times[FIRST : FIRST + 3]]
    first = run(book, times[FIRST])
    modules.swap("features", challenger("features", STILL), actor="test")
    second = run(book, times[FIRST + 1])
    assert served_by(second) == second.modules["features"] != served_by(first)
    assert forecasts(second) != expected[1]
    modules.rollback("features", actor="test", reason="worse")
    third = run(book, times[FIRST + 2])
    assert served_by(third) == served_by(first)
    assert [forecasts(first), forecasts(third)] == [expected[0], expected[2]]
    modules.swap("features", challenger("features", BROKEN, SECOND), actor="test")
    fourth = run(book, times[FIRST + 3])
    assert served_by(fourth) == served_by(first)
    assert fourth.stage_runs.get(stage="features").fallback == "previous_version"
