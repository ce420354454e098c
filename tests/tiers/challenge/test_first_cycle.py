"""Warm means warm: a process that was readied does in its first cycle what it does in its tenth."""

from __future__ import annotations

import sys
from datetime import datetime

import pytest
from numba.core import event

from helios.breakers import process as breakers
from helios.modules import loading, process, swap_worker
from tests.tiers.challenge.conftest import FIRST, run
from tiers.live import inference, warmup
from tiers.predict import network
from trading.models import Book
from trading.registry import artefacts

pytestmark = pytest.mark.django_db


def fits() -> dict[str, object]:
    """What the risk module in use has fitted."""
    return process.resolve("risk").implementation.FITS


def state() -> tuple[set[object], ...]:
    """What a process has imported, loaded, fitted and opened."""
    held = set(sys.modules), set(artefacts._loaded), set(loading.loaded())
    return (*held, set(fits()), set(breakers.current().circuits))


def test_the_first_cycle_of_a_readied_process_imports_loads_fits_and_compiles_nothing(
    book: Book, times: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    Book.objects.update(active=True)
    fits().clear()
    monkeypatch.setattr(swap_worker, "_background", [])
    monkeypatch.setattr(network, "prepare_process", lambda threads: None)  # it is for good
    warmup.cpu()
    warmup.gpu()
    before = state()
    assert [bool(each) for each in before] == [True] * 5
    with event.install_recorder("numba:compile") as compiled:
        assert run(book, times[FIRST]).status == "DONE"
    assert [now - then for then, now in zip(before, state(), strict=True)] == [set()] * 5
    assert compiled.buffer == []
    assert swap_worker._background == [inference.warm]  # what is promoted later is loaded beside the tasks
