"""What a process does before its first task."""

from types import SimpleNamespace

import pytest

from helios.modules import process, watch
from helios.modules.loading import ActiveModule
from tiers.live import warmup
from trading.models import Stage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_snapshot():
    process.forget()
    yield
    process.forget()


def test_every_module_in_use_is_run_once_before_the_first_task():
    assert warmup.active_modules(stage for stage in Stage if stage is not Stage.DONE) == []


def test_a_module_that_cannot_be_warmed_stops_nothing(monkeypatch):
    def broken(_name):
        raise RuntimeError("no such code")

    monkeypatch.setattr(process, "resolve", broken)
    assert warmup.active_modules([Stage.RISK]) == ["risk: RuntimeError: no such code"]


def test_a_module_that_panics_while_it_is_warmed_has_failed_a_watched_call(monkeypatch):
    class Panic(BaseException):
        pass

    def run(*_, **__):
        raise Panic("out of range")

    tier = SimpleNamespace(VERSION="1.2.0", run=run)
    found = ActiveModule(name="risk", version="1.2.0", path="", digest="", implementation=tier, watch=7)
    counted = []
    monkeypatch.setattr(process, "resolve", lambda _: found)
    monkeypatch.setattr(watch, "flush", lambda: counted.append(watch._pending.pop(7)))
    (failure,) = warmup.active_modules([Stage.RISK])
    assert failure == "risk: module risk 1.2.0 failed in a watched call: Panic: out of range"
    assert [(each.seen, each.failed) for each in counted] == [(1, 1)]
