"""A desk on a small market with a model that speaks, and challengers written by the test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from helios.breakers import journal
from helios.breakers import process as breakers
from helios.modules import loading, process, watch
from helios.modules import services as modules
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleVersion
from helios.rollouts import process as rollouts_held
from helios.rollouts import services as rollouts
from helios.rollouts.models import Rollout
from tests.support import networks
from tests.support.live_market import make_bars, stored
from tiers.challenge import arms
from tiers.contracts import protocols
from tiers.live import chain, stages, store
from tiers.predict import labels
from trading.books import write as books
from trading.market.bars import Bars
from trading.market.timestamps import utc
from trading.models import Book, MLModel, Order, PipelineCycle, Stage
from trading.registry import artefacts

N, FIRST = 400, 350
SYMBOLS = ("AAPL", "IBM", "MSFT")
GUARDS = [{"metric": "latency_p95_ms", "limit": 1e9, "kind": "hard"}]  # one that never acts


@pytest.fixture(autouse=True)
def _own_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules, breakers and models as a fresh process has them."""
    monkeypatch.setattr(journal, "write", lambda _entry: None)  # it commits past this test; its own tests cover it
    monkeypatch.setattr(artefacts, "_loaded", {})
    monkeypatch.setattr(arms, "TIME_LIMIT_S", 600.0)  # a busy machine is slow; the limit has tests of its own
    for each in (process, watch, breakers, rollouts_held):
        each.forget()
    yield
    for each in (process, watch, breakers, rollouts_held):
        each.forget()


@pytest.fixture
def bars(db: None, tmp_path: Path, settings: Any) -> Bars:
    """Three symbols, and a model whose untrained network has opinions all the same."""
    settings.VAR_DIR = tmp_path
    made = stored(make_bars(SYMBOLS, n_bars=N, seed=3))
    networks.serve(tmp_path, *SYMBOLS, name="first")
    return made


@pytest.fixture
def times(bars: Bars) -> list[datetime]:
    return [utc(ts) for ts in bars.ts]


@pytest.fixture
def desk(bars: Bars, times: list[datetime]) -> Callable[[str], Book]:
    """Make a book that replays the market from bar 350 on."""

    def make(name: str = "desk") -> Book:
        return books.create_book(
            name,
            mode="replay",
            timeframe="1d",
            symbols=[*SYMBOLS],
            initial_cash=Decimal(100_000),
            fee_bps=Decimal(5),
            slippage_bps=Decimal(2),
            flag_overrides={"auto_trading": True},
            replay_from=times[FIRST],
            replay_until=times[-1],
        )

    return make


@pytest.fixture
def book(desk: Callable[[str], Book]) -> Book:
    return desk("desk")


@pytest.fixture
def outcomes(tmp_path: Path, bars: Bars) -> dict[str, Any]:
    """By model, what came of each bar by its labels, (n_bars, n_symbols); the second serves where a flag says so."""
    other: dict[str, Any] = {"horizon_bars": 2, "theta": 0.9, "params": {"volatility_bars": 4}}
    networks.serve(tmp_path, *SYMBOLS, name="second", **other)
    MLModel.objects.filter(name="second").update(role="challenger")
    MLModel.objects.filter(name="first").update(role="champion")
    return {
        name: labels.make(bars.close, horizon_bars=h, theta=theta, volatility_bars=n).outcome
        for name, (h, theta, n) in {"first": (5, 0.5, 20), "second": (2, 0.9, 4)}.items()
    }


def let_second_serve(book: Book) -> None:
    """The challenger model, for all symbols of the book."""
    book.flag_overrides = {**book.flag_overrides, "neural_network_v2": True}
    book.save()


@pytest.fixture
def challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Callable[[str, str], str]]:
    """Write a version of a slot and register it; returns its label."""
    package = f"scratch_{uuid.uuid4().hex[:8]}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    settings.MODULE_PACKAGES = (package, "tiers", "trading")

    def register(slot: str, source: str, version: str = "1.1.0") -> str:
        name = f"{slot}_{uuid.uuid4().hex[:6]}"
        shipped = f"from tiers.{slot} import {', '.join(protocols.parts(slot))}\n"  # what it does not say otherwise
        (tmp_path / package / f"{name}.py").write_text(f"VERSION = {version!r}\n{shipped}{source}")
        made = modules.register(slot, f"{package}.{name}", actor="test")
        ModuleVersion.objects.filter(pk=made.pk).update(state="LOADED")  # its import apart has tests of its own
        return made.label

    yield register
    for slot, digest in loading.loaded():
        if loading._known[loading.copy_name(slot, digest)].names.own.startswith(package):
            loading.forget_code(slot, digest)


@pytest.fixture
def swap(challenger: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Switch a slot to new code, past the gate that would have found out."""
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "")

    def switch(slot: str, source: str, version: str = "1.1.0") -> str:
        label = challenger(slot, source, version)
        modules.swap(slot, label, actor="test")
        return label

    return switch


def active(slot: str) -> str:
    """The label of what fills a slot."""
    used = Module.objects.select_related("active").get(name=slot).active
    assert used is not None
    return used.label


def run(book: Book, bar_ts: datetime, upto: Stage = Stage.DONE) -> PipelineCycle:
    """Start a cycle and run its stages in this process."""
    cycle = chain.start(book, bar_ts, send=False)
    assert cycle is not None
    return finish(cycle, upto)


@dataclass(frozen=True, slots=True)
class Calm:
    """What an undisturbed book ordered, and the weights, sizes and equity of its cycles."""

    orders: list[tuple[Any, ...]]
    cycles: list[tuple[Any, ...]]


_calm: dict[int, Calm] = {}


@pytest.fixture
def calm(desk: Callable[[str], Book], times: list[datetime]) -> Callable[[int], Calm]:
    """A book over the first bars, before anything was rolled out or swapped: the same for all tests, so run once."""

    def undisturbed(n_bars: int) -> Calm:
        if n_bars not in _calm:
            book = desk("calm")
            cycles = [decided(run(book, ts)) for ts in times[FIRST : FIRST + n_bars]]
            _calm[n_bars] = Calm(orders_of(book), cycles)
        return _calm[n_bars]

    return undisturbed


def decided(cycle: PipelineCycle) -> tuple[Any, ...]:
    """The figures of a cycle, to the last bit."""
    risk = store.load_risk(cycle)
    return store.load_targets(cycle).weights.tobytes(), risk.size.tobytes(), cycle.snapshot.equity


def finish(cycle: PipelineCycle, upto: Stage = Stage.DONE) -> PipelineCycle:
    """Run what is left of a cycle."""
    for stage in chain.STAGES:
        if stage is upto:
            break
        stages.run_stage(cycle.pk, stage)
    cycle.refresh_from_db()
    return cycle


def roll_out(kind: str, target: str, label: str, *, live: int = 0, params: dict[str, Any] | None = None) -> Rollout:
    """Start a rollout in shadow mode, or live for a percentage of the symbols."""
    steps = [
        {"kind": "shadow", "min_samples": 1},
        *({"kind": "live", "percentage": p} for p in sorted({live or 50, 100})),
    ]
    row = rollouts.create(
        f"try-{target}",
        kind=kind,
        target=target,
        challenger=label,
        params=params,
        steps=steps,
        guards=GUARDS,
        actor="test",
    )
    rollouts.start(row.pk, actor="test")
    if live:
        rollouts.promote(row.pk, actor="test")
    row.refresh_from_db()
    return row


def orders_of(book: Book) -> list[tuple[Any, ...]]:
    """What a book ordered, without what differs between books."""
    rows = Order.objects.filter(book=book).order_by("bar_ts", "symbol", "side")
    return list(rows.values_list("bar_ts", "symbol", "side", "quantity", "status"))
