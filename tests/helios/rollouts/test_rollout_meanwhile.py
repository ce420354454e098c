"""What happens while a provider measures or a challenger is put in place: nothing measured overrules a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings as configured
from django.db import connection

from helios.celery import app
from helios.db.locks import claimed
from helios.rollouts import providers, selectors, services
from helios.rollouts.models import Rollout, RolloutAnalysis
from tests.helios.rollouts.conftest import T0, Desk
from tests.support.arms import arm, reading

pytestmark = pytest.mark.django_db
LATER = T0 + timedelta(hours=1)


@pytest.fixture
def interrupted(desk: Desk, settings):
    """Let somebody act in the middle of a measurement, which then ends as it would have."""

    def arrange(act, arms) -> None:
        def measure(*_):
            act()
            return arms

        settings.ROLLOUT_MEASURES = measure

    return arrange


@pytest.mark.parametrize("arms", [reading(), reading(arm(n_errors=50)), reading(arm(2))])
@pytest.mark.parametrize("notice", [services.advance, services.react])
def test_what_was_measured_of_a_rollout_that_moved_meanwhile_is_dropped(at_step, interrupted, arms, notice) -> None:
    row = at_step(2)
    n_analyses = RolloutAnalysis.objects.count()
    interrupted(lambda: services.pause(row.pk, actor="ada", reason="news"), arms)
    assert notice(row.pk, LATER) is None
    row.refresh_from_db()
    assert (row.state, row.step, row.reason) == ("PAUSED", 2, "news")
    assert RolloutAnalysis.objects.count() == n_analyses


def test_a_success_measured_for_an_aborted_rollout_promotes_nothing(at_step, interrupted, desk: Desk) -> None:
    row = at_step(4)
    interrupted(lambda: services.abort(row.pk, actor="ada"), reading())
    services.advance(row.pk, LATER)
    assert (selectors.get(row.pk).state, desk.promoted) == ("ABORTED", [])


def test_a_step_taken_by_hand_is_not_taken_twice(at_step, interrupted) -> None:
    row = at_step(2)
    interrupted(lambda: services.promote(row.pk, actor="ada"), reading())
    services.advance(row.pk, LATER)
    assert selectors.get(row.pk).step == 3


def test_a_query_that_fails_in_the_provider_leaves_the_transaction_usable(at_step, settings) -> None:
    row = at_step(2)

    def broken(*_):
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM rollouts")

    settings.ROLLOUT_MEASURES = broken
    analysis = services.advance(row.pk, LATER)
    assert analysis.verdict == "Error"
    assert "no_such_column" in analysis.reason


def test_a_replay_that_takes_too_long_is_an_error_and_not_the_end_of_the_others(rollout: Rollout, desk: Desk) -> None:
    desk.failure = SoftTimeLimitExceeded()
    assert services.run_due(T0) == [rollout.pk]
    assert RolloutAnalysis.objects.get().reason.startswith("no measures: SoftTimeLimitExceeded")
    assert selectors.get(rollout.pk).state == "RUNNING"


def test_a_swap_that_takes_too_long_pauses(at_step, desk: Desk) -> None:
    row = at_step(4)
    desk.refusal = SoftTimeLimitExceeded()
    services.advance(row.pk, LATER)
    found = selectors.get(row.pk)
    assert (found.state, found.cause) == ("PAUSED", "promotion failed")
    assert "SoftTimeLimitExceeded" in found.reason


def test_a_claim_ends_with_its_work_also_when_that_fails(rollout: Rollout) -> None:
    work = claimed("helios.rollouts", rollout.pk)
    assert work.__enter__()
    assert not work.__exit__(ZeroDivisionError, ZeroDivisionError(), None)  # it does not swallow the error
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [rollout.pk])
        assert cursor.fetchone() == (0,)


def test_plans_that_were_edited_in_the_database_stop_their_own_rollout_only(rollout: Rollout) -> None:
    Rollout.objects.filter(pk=rollout.pk).update(steps=[{"kind": "nonsense"}])
    assert services.run_due(T0) == [rollout.pk]
    assert not RolloutAnalysis.objects.exists()


def test_the_beat_sends_the_task_to_the_maintenance_queue_and_workers_know_it() -> None:
    app.loader.import_default_modules()
    entry = configured.CELERY_BEAT_SCHEDULE["rollouts"]
    assert entry["task"] == "rollouts.advance"
    assert entry["task"] in app.tasks
    assert configured.CELERY_TASK_ROUTES["rollouts.*"] == {"queue": "maintenance"}


@pytest.mark.parametrize(
    "setting", ["ROLLOUT_MEASURES", "ROLLOUT_REPLAY", "ROLLOUT_STRATEGIES", "ROLLOUT_PROMOTE_STRATEGY"]
)
def test_the_shipped_settings_name_functions_that_exist(setting: str) -> None:
    assert callable(providers.named(setting))
