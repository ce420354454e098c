"""What a process does before its first task."""

import pytest

from helios.modules import process
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
