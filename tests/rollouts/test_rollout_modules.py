"""A module's slot as the target: what is refused, who is the champion, and the real swap at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from helios.errors import Rejected
from helios.modules.models import Module, ModuleVersion
from helios.rollouts import selectors, services, targets
from helios.rollouts.models import Rollout
from tests.harness import ROOT, run_sql
from tests.rollouts.conftest import STEPS, T0


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


def test_a_plain_version_is_the_one_registered_last(slot: Module) -> None:
    assert plan("1.1.0").challenger == "1.1.0+cccccccc"


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
from helios.modules import registry
from helios.modules import services as modules
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
    registry.refresh_if_behind()
    return [row.state, row.reason, registry.resolve("scorer").version]

good, bad = write("two", "1.1.0"), write("three", "1.2.0", "raise SystemExit(3)")
print(json.dumps({"good": deliver(good), "bad": deliver(bad), "labels": [champion, good, bad]}))
"""


def test_the_end_of_a_rollout_is_a_swap_with_its_gate(fresh_database: str, tmp_path: Path) -> None:
    package = "rollout_scratch"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "calls.py").write_text("CALLS = {}")
    told = subprocess.run(
        [sys.executable, "-c", STORY, package, str(tmp_path)],
        cwd=ROOT,
        env={
            **os.environ,
            "HELIOS_DATABASE_URL": fresh_database,
            "DJANGO_SETTINGS_MODULE": "helios.settings",
            "HELIOS_MODULE_PACKAGES": package,
            "HELIOS_VAR_DIR": str(tmp_path / "var"),
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
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
