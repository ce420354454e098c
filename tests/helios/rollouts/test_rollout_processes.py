"""Two processes at one rollout, and one that dies at the worst moment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.harness import run_sql
from tests.support.warm import Running

# A desk of its own in every process: its strategy slot is a file that all of them see.
WORKER = """
import json, os, signal, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
import django
django.setup()
from django.conf import settings
from helios.rollouts import selectors, services
from tests.support.arms import reading

folder, story = Path(sys.argv[1]), sys.argv[2]
slot = folder / "strategy"
T0 = datetime(2026, 3, 2, tzinfo=UTC)
STEPS = [{"kind": "live", "percentage": share, "interval_s": 60} for share in (1, 25, 100)]

def wait_for(name):
    deadline = time.monotonic() + 30
    while not (folder / name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.005)

def measure(*_):
    with (folder / "measured").open("a") as notes:
        notes.write("x")
    if story == "slow":
        (folder / "measuring").touch()
        wait_for("second_done")
    return reading()

def promote(target, challenger, params, *, actor, reason):
    if story == "full":
        (folder / "promoting").touch()
        wait_for("second_done")
    if story == "die_before":
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "promoted").open("a") as notes:
        notes.write("x")
    slot.write_text(challenger)
    if story == "die_after":
        os.kill(os.getpid(), signal.SIGKILL)

settings.ROLLOUT_STRATEGIES = lambda *_: slot.read_text()
settings.ROLLOUT_MEASURES = measure
settings.ROLLOUT_PROMOTE_STRATEGY = promote

def plan():
    row = services.create("race", kind="strategy", target="demo", challenger="momentum", steps=STEPS, actor="ada")
    return services.start(row.pk, actor="ada", now=T0).pk

def lead():
    plan()
    wait_for("ready")
    (folder / "go").touch()
    return loop()

def follow():
    (folder / "ready").touch()
    return loop()

def loop():
    wait_for("go")
    for minute in range(1, 30):
        services.run_due(T0 + timedelta(minutes=minute))
    return selectors.get("race").state

def once():
    made = services.advance(selectors.get("race").pk, T0 + timedelta(minutes=1))
    return None if made is None else made.verdict

def slow():
    plan()
    return once()

def full():
    services.promote(plan(), full=True, actor="ada")
    return services.run_due()

def abort():
    wait_for("promoting")
    try:
        services.abort(selectors.get("race").pk, actor="bob")
    except Exception as error:
        return str(error)
    finally:
        (folder / "second_done").touch()

def recover():
    return [len(services.run_due()), selectors.get("race").state, len(services.run_due())]

def second():
    wait_for("measuring")
    made = once()
    (folder / "second_done").touch()
    return made

tell = {"lead": lead, "follow": follow, "slow": slow, "second": second, "die_before": full, "die_after": full,
        "full": full, "abort": abort, "recover": recover}
print(json.dumps(tell[story]()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "strategy").write_text("sma_cross")
    return tmp_path


def begin(database: str, folder: Path, story: str) -> Running:
    environ = {**os.environ, "HELIOS_DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "helios.settings"}
    return warm.begin(["-c", WORKER, str(folder), story], env=environ)


def end(running: Running, *, status: int = 0):
    ended = running.end()
    assert ended.returncode == status, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1]) if status == 0 else None


def state(database: str) -> tuple[str, int]:
    return run_sql(database, "SELECT state, step FROM rollouts")[0]


def test_the_second_of_two_advances_at_once_does_nothing(fresh_database: str, folder: Path) -> None:
    first, second = (begin(fresh_database, folder, story) for story in ("slow", "second"))
    assert (end(second), end(first)) == (None, "Success")
    assert (folder / "measured").read_text() == "x"
    assert state(fresh_database) == ("RUNNING", 1)
    assert run_sql(fresh_database, "SELECT count(*) FROM rollout_analyses") == [(1,)]


def test_two_beats_in_a_race_make_each_step_and_the_promotion_once(fresh_database: str, folder: Path) -> None:
    racers = [begin(fresh_database, folder, story) for story in ("lead", "follow")]
    assert "SUCCEEDED" in [end(racer) for racer in racers]
    assert state(fresh_database) == ("SUCCEEDED", 2)
    steps = run_sql(fresh_database, "SELECT step, verdict FROM rollout_analyses ORDER BY id")
    assert steps == [(0, "Success"), (1, "Success"), (2, "Success")]
    actions = [row[0] for row in run_sql(fresh_database, "SELECT action FROM rollout_history ORDER BY id")]
    assert actions == ["created", "started", "stepped", "stepped", "promoting", "succeeded"]
    assert (folder / "promoted").read_text() == "x"


def test_nobody_aborts_while_the_challenger_is_put_in_place(fresh_database: str, folder: Path) -> None:
    promoting, aborting = (begin(fresh_database, folder, story) for story in ("full", "abort"))
    assert end(aborting) == "a rollout must be PENDING, RUNNING or PAUSED to be aborted, was PROMOTING"
    assert len(end(promoting)) == 1
    assert state(fresh_database) == ("SUCCEEDED", 0)


@pytest.mark.parametrize(("moment", "swaps"), [("die_before", 1), ("die_after", 2)])
def test_a_process_that_dies_while_promoting_is_followed_up(
    fresh_database: str, folder: Path, moment: str, swaps: int
) -> None:
    end(begin(fresh_database, folder, moment), status=-9)
    assert state(fresh_database) == ("PROMOTING", 0)
    assert (folder / "strategy").read_text() == ("momentum" if moment == "die_after" else "sma_cross")
    assert end(begin(fresh_database, folder, "recover")) == [1, "SUCCEEDED", 0]
    assert state(fresh_database) == ("SUCCEEDED", 0)
    assert (folder / "strategy").read_text() == "momentum"
    assert len((folder / "promoted").read_text()) == swaps
