"""A module's slot as the target: what is refused, who is the champion, and the real swap at the end."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from helios.errors import Conflict, Rejected
from helios.events.models import SystemEvent
from helios.modules import swap_worker
from helios.modules.models import Module, ModuleSwap, ModuleVersion
from helios.rollouts import selectors, services, targets
from helios.rollouts.models import Rollout
from tests.helios.rollouts.conftest import STEPS, T0, asked
from tests.support import warm
from tests.support.harness import run_sql


@pytest.fixture
def slot(db) -> Module:
    """A slot with a version in use and some others."""
    made = Module.objects.create(name="scorer", path="x.scorer", version="1.0.0", state="ACTIVE", generation=900)
    for label, state, error in (
        ("1.0.0+aaaaaaaa", "ACTIVE", ""),
        ("1.1.0+bbbbbbbb", "LOADED", ""),
        ("1.1.0+cccccccc", "UNLOADED", ""),
        ("1.2.0+dddddddd", "FAILED", "it raises at import"),
    ):
        row = ModuleVersion.objects.create(
            module=made, label=label, version=label[:5], path="x.scorer", state=state, error=error, registered_by="ada"
        )
        if state == "ACTIVE":
            made.active = row
    made.save()
    return made


def plan(challenger: str, target: str = "scorer", **other) -> Rollout:
    return services.create("newer", target=target, challenger=challenger, steps=STEPS, actor="ada", **other)


def test_the_arms_are_kept_by_their_labels(slot: Module) -> None:
    row = plan("1.1.0+bbbbbbbb")
    assert (row.kind, row.champion, row.challenger) == ("module", "1.0.0+aaaaaaaa", "1.1.0+bbbbbbbb")


def test_a_plain_version_of_two_registrations_is_neither(slot: Module) -> None:
    with pytest.raises(Conflict, match=r"1\.1\.0 may be 1\.1\.0\+cccccccc, 1\.1\.0\+bbbbbbbb"):
        plan("1.1.0")
    assert not Rollout.objects.exists()


@pytest.mark.parametrize(
    ("challenger", "target", "sentence"),
    [
        ("1.1.0", "nowhere", "no module is named 'nowhere'"),
        ("9.9.9", "scorer", "module scorer has no version 9.9.9; there are 1.2.0"),
        ("", "scorer", "challenger must be a version of scorer, was empty"),
        ("1.0.0", "scorer", r"a challenger must differ from the champion, 1.0.0\+aaaaaaaa serves scorer already"),
        ("1.2.0", "scorer", r"1.2.0\+dddddddd must be loadable, failed: it raises at import"),
    ],
)
def test_a_challenger_that_cannot_serve_is_refused(slot: Module, challenger: str, target: str, sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence):
        plan(challenger, target)
    assert not Rollout.objects.exists()


def test_a_slot_without_a_champion_cannot_be_challenged(slot: Module) -> None:
    Module.objects.filter(pk=slot.pk).update(active=None)
    with pytest.raises(Rejected, match="module scorer must have an active version to be challenged, has none"):
        plan("1.1.0")


@pytest.mark.parametrize("state", ["UNLOADED", "LOADING"])
def test_code_that_was_never_imported_apart_does_not_meet_a_worker(slot: Module, state: str) -> None:
    row = plan("1.1.0+cccccccc")
    ModuleVersion.objects.filter(label=row.challenger).update(state=state)
    with pytest.raises(
        Rejected, match=rf"1.1.0\+cccccccc must be LOADED before it meets a worker, was {state}: load it"
    ):
        services.start(row.pk, actor="ada", now=T0)
    assert selectors.get(row.pk).state == "PENDING"


def test_a_challenger_that_was_unloaded_meanwhile_is_not_resumed(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.pause(row.pk, actor="ada")
    ModuleVersion.objects.filter(label=row.challenger).update(state="UNLOADED")
    with pytest.raises(Rejected, match="must be LOADED before it meets a worker, was UNLOADED"):
        services.resume(row.pk, actor="ada")


@pytest.mark.parametrize("state", ["UNLOADED", "FAILED", "LOADING"])
def test_a_challenger_that_is_taken_out_of_use_serves_no_further_cycle(slot: Module, state: str) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, actor="ada", now=T0)
    assert [one.challenger for one in asked(["SPY"])] == [row.challenger]
    ModuleVersion.objects.filter(label=row.challenger).update(state=state, error="why")
    assert (asked(["SPY"]), selectors.challengers()) == ((), [])
    services.advance(row.pk, T0 + timedelta(hours=1))
    row.refresh_from_db()
    assert row.state == "PAUSED"
    assert row.reason.endswith(f"must be LOADED before it meets a worker, was {state}: load it")


def test_a_challenger_that_is_taken_out_of_use_is_not_put_in_place(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, full=True, actor="ada", now=T0)
    ModuleVersion.objects.filter(label=row.challenger).update(state="UNLOADED")
    services.run_due(T0)
    row.refresh_from_db()
    assert (row.state, row.cause) == ("PAUSED", "promotion failed")
    assert not ModuleSwap.objects.exists()


def test_a_slot_that_may_not_be_swapped_cannot_be_challenged(slot: Module) -> None:
    Module.objects.filter(pk=slot.pk).update(hot_reloadable=False)
    with pytest.raises(Rejected, match="module scorer must be hot-reloadable to be challenged, it is not"):
        plan("1.1.0+bbbbbbbb")


def test_a_challenger_serves_nothing_beside_versions_that_it_does_not_fit(slot: Module) -> None:
    ModuleVersion.objects.filter(label="1.1.0+bbbbbbbb").update(dependencies={"feeder": "^2.0.0"})
    with pytest.raises(Rejected, match="module scorer depends on feeder, which is not registered"):
        plan("1.1.0+bbbbbbbb")
    feeder = Module.objects.create(name="feeder", path="x.feeder", version="1.0.0", state="ACTIVE", generation=901)
    feeder.active = ModuleVersion.objects.create(
        module=feeder, label="1.0.0+f", version="1.0.0", path="x.feeder", state="ACTIVE", registered_by="ada"
    )
    feeder.save()
    with pytest.raises(Rejected, match=r"module scorer needs feeder \^2.0.0, but 1.0.0 is registered"):
        plan("1.1.0+bbbbbbbb")
    assert not Rollout.objects.exists()


def test_workers_load_the_challengers_of_rollouts_under_way_ahead(slot: Module) -> None:
    assert selectors.challengers() == []
    row = plan("1.1.0+bbbbbbbb")
    assert selectors.challengers() == []
    services.start(row.pk, actor="ada", now=T0)
    assert [version.label for version in selectors.challengers()] == ["1.1.0+bbbbbbbb"]
    assert selectors.challengers in swap_worker._wanted
    services.abort(row.pk, actor="ada")
    assert selectors.challengers() == []


def promotion(slot: Module, row: Rollout, **other) -> ModuleSwap:
    """The swap of a promotion, as the modules' own history keeps it."""
    kept = {
        "module": slot,
        "to_version": ModuleVersion.objects.get(label=row.challenger),
        "actor": "rollouts",
        "reason": f"rollout {row.name} reached its end",
        "owner": "here:1",
        "expires_at": T0,
        "state": "SWITCHED",
    }
    return ModuleSwap.objects.create(**{**kept, **other})


@pytest.fixture
def promoted(slot: Module) -> tuple[Rollout, ModuleSwap]:
    """A rollout that succeeded; the challenger's first calls are watched."""
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, full=True, actor="ada", now=T0)
    swap = promotion(slot, row)
    activate(slot, row.challenger)
    services.run_due(T0)
    assert selectors.get(row.pk).state == "SUCCEEDED"
    return row, swap


def take_back(swap: ModuleSwap, failed: int) -> None:
    ModuleSwap.objects.filter(pk=swap.pk).update(
        state="ROLLED_BACK", error="it raised", watch_failed=failed, finished_at=T0
    )


def test_a_success_that_its_watch_takes_back_is_told_as_rolled_back(promoted, slot: Module) -> None:
    row, swap = promoted
    take_back(swap, failed=1)
    activate(slot, "1.0.0+aaaaaaaa")
    services.run_due(T0)
    services.run_due(T0)
    row = selectors.get(row.pk)
    assert row.state == "ROLLED_BACK"
    assert row.reason == "1.1.0+bbbbbbbb was put in place and taken back by its watch: it raised"
    (event,) = SystemEvent.objects.filter(kind="rollout.rolled_back")
    assert (event.severity, event.data["before"]["state"]) == ("critical", "SUCCEEDED")
    assert row.history.first().action == "rolled_back"


def test_what_people_do_to_the_slot_later_leaves_the_success_as_it_was(promoted) -> None:
    row, swap = promoted
    take_back(swap, failed=0)
    services.run_due(T0)
    assert selectors.get(row.pk).state == "SUCCEEDED"


def test_of_two_rollouts_of_the_same_words_only_the_later_one_is_taken_back(promoted, slot: Module) -> None:
    first, _ = promoted
    activate(slot, "1.0.0+aaaaaaaa")
    second = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(second.pk, full=True, actor="ada", now=T0)
    take_back(promotion(slot, second), failed=1)
    activate(slot, "1.1.0+bbbbbbbb")
    services.run_due(T0)
    assert (selectors.get(first.pk).state, selectors.get(second.pk).state) == ("SUCCEEDED", "ROLLED_BACK")


def test_a_promotion_that_was_taken_back_before_it_was_written_down_is_not_done_again(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, full=True, actor="ada", now=T0)
    take_back(promotion(slot, row), failed=1)
    services.run_due(T0)
    row = selectors.get(row.pk)
    assert (row.state, row.cause) == ("PAUSED", "promotion failed")
    assert "was put in place and taken back by its watch: it raised" in row.reason
    assert ModuleSwap.objects.count() == 1


def test_a_promotion_does_not_push_a_third_version_out(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, full=True, actor="ada", now=T0)
    activate(slot, "1.1.0+cccccccc")
    services.run_due(T0)
    row = selectors.get(row.pk)
    assert (row.state, row.cause) == ("PAUSED", "promotion failed")
    assert "scorer must still be served by 1.0.0+aaaaaaaa, is now by 1.1.0+cccccccc" in row.reason
    assert not ModuleSwap.objects.exists()


def activate(slot: Module, label: str) -> None:
    """As a swap by somebody else leaves the slot."""
    Module.objects.filter(pk=slot.pk).update(active=ModuleVersion.objects.get(label=label))


def test_a_swap_by_somebody_else_pauses(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    activate(slot, "1.1.0+cccccccc")
    services.run_due(T0 + timedelta(hours=1))
    row.refresh_from_db()
    assert (row.state, row.cause) == ("PAUSED", "champion changed")
    assert row.reason.endswith("must stay 1.0.0+aaaaaaaa while it is compared, is now 1.1.0+cccccccc")
    assert services.resume(row.pk, actor="ada").champion == "1.1.0+cccccccc"


def test_when_the_challenger_itself_was_swapped_in_there_is_nothing_left_to_compare(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    activate(slot, "1.1.0+bbbbbbbb")
    services.run_due(T0 + timedelta(hours=1))
    with pytest.raises(Rejected, match="must differ from the champion"):
        services.resume(row.pk, actor="ada")
    assert services.abort(row.pk, actor="ada").state == "ABORTED"


def test_a_promotion_that_was_done_before_a_crash_is_only_written_down(slot: Module) -> None:
    row = services.start(plan("1.1.0+bbbbbbbb").pk, actor="ada", now=T0)
    services.promote(row.pk, full=True, actor="ada")
    activate(slot, "1.1.0+bbbbbbbb")
    assert targets.in_place(row)
    with pytest.raises(Rejected, match="serves scorer already: swap it back instead of aborting"):
        services.abort(row.pk, actor="ada")
    services.run_due()
    assert selectors.get(row.pk).state == "SUCCEEDED"


STORY = """
import json, sys
from pathlib import Path
import django
django.setup()
from django.conf import settings
from helios.modules import process
from helios.modules import services as modules
from helios.modules.models import ModuleVersion
from helios.rollouts import selectors, services

package = sys.argv[1]
settings.MODULE_CALLS = f"{package}.calls.CALLS"  # a slot of the test's own answers no stage's calls

def write(name, version, body=""):
    text = f"VERSION = {version!r}\\n{body}\\ndef run(value):\\n    return value\\n"
    Path(sys.argv[2], package, f"{name}.py").write_text(text)
    return modules.register("scorer", f"{package}.{name}", version, actor="ada").label

champion = write("one", "1.0.0")
modules.activate("scorer", actor="ada")

def deliver(label):
    row = services.create(f"to-{label[:5]}", target="scorer", challenger=label, actor="ada")
    services.start(row.pk, actor="ada")
    services.promote(row.pk, full=True, actor="ada")
    services.run_due()
    row = selectors.get(row.pk)
    if row.state == "PAUSED":
        services.abort(row.pk, actor="ada", reason=row.reason)
        row.reason = selectors.get(row.pk).reason
    process.refresh_if_behind()
    return [row.state, row.reason, process.resolve("scorer").version]

good, bad = write("two", "1.1.0"), write("three", "1.2.0", "raise SystemExit(3)")
modules.load("scorer", good)
ModuleVersion.objects.filter(label=bad).update(state="LOADED")  # as if it had behaved when it was loaded
print(json.dumps({"good": deliver(good), "bad": deliver(bad), "labels": [champion, good, bad]}))
"""


def test_the_end_of_a_rollout_is_a_swap_with_its_gate(fresh_database: str, tmp_path: Path) -> None:
    package = "rollout_scratch"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "calls.py").write_text("CALLS = {}")
    told = warm.run(
        ["-c", STORY, package, str(tmp_path)],
        env={
            **os.environ,
            "HELIOS_DATABASE_URL": fresh_database,
            "DJANGO_SETTINGS_MODULE": "helios.settings",
            "HELIOS_MODULE_PACKAGES": package,
            "HELIOS_VAR_DIR": str(tmp_path / "var"),
            "PYTHONPATH": str(tmp_path),
        },
    )
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout.splitlines()[-1])
    _, good, bad = said["labels"]
    assert said["good"] == ["SUCCEEDED", f"{good} serves scorer", good]
    state, reason, serving = said["bad"]
    assert (state, serving) == ("PAUSED", good)
    assert reason.startswith("promotion failed: ")
    assert bad in reason
    assert run_sql(fresh_database, "SELECT count(*) FROM module_swaps WHERE actor = 'rollouts'") == [(2,)]
