"""What a snapshot resolves, says about itself, and tells its listeners."""

from __future__ import annotations

from datetime import datetime

from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Reason, Strategy
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Constraint, Payload, Segment, Variant, VariantResult
from helios.flags.snapshots import FlagStore
from tests.helios.flags.test_flag_store import NOW, Tables, defaults, store_of

SEASON = Constraint(context_name="currentTime", operator="DATE_AFTER", value="2026-03-01T00:00:00Z")
LARGE = Segment(name="large_caps", constraints=(Constraint(context_name="symbol", operator="IN", values=("AAPL",)),))


def serving(*flags: FlagDefinition, segments: tuple[Segment, ...] = (), **fields: object) -> FlagStore:
    tables = Tables()
    named = {flag.name: flag for flag in flags}, {segment.name: segment for segment in segments}
    tables.load = lambda: (tables.now, *named)  # type: ignore[method-assign]
    return FlagStore(tables, defaults, **{"clock": lambda: NOW, **fields})


def test_the_clock_is_read_where_the_time_matters_and_nowhere_else() -> None:
    read: list[datetime] = []

    def clock() -> datetime:
        read.append(NOW)
        return NOW

    share = {"enabled": True, "strategy": Strategy.PERCENTAGE, "percentage": 50}
    timeless = [FlagDefinition(name="on", enabled=True), FlagDefinition(name="share", **share)]
    timeless.append(FlagDefinition(name="bound", constraints=LARGE.constraints, **share))
    timed = FlagDefinition(name="timed", constraints=(SEASON,), **share)
    store = serving(*timeless, timed, clock=clock)
    store.snapshot()
    for flag in timeless:
        store.is_enabled(flag.name, FlagContext(symbol="AAPL"))
    assert read == []
    store.is_enabled("timed", FlagContext(symbol="AAPL"))
    assert len(read) == 1


def test_segments_are_resolved_in_the_snapshot() -> None:
    store = serving(
        FlagDefinition(name="large", enabled=True, segments=("large_caps",)),
        FlagDefinition(name="gone", enabled=True, segments=("small_caps",)),
        segments=(LARGE,),
    )
    aapl, other = FlagContext(symbol="AAPL"), FlagContext(symbol="MSFT")
    assert [store.is_enabled("large", aapl), store.is_enabled("large", other)] == [True, False]
    assert not store.is_enabled("gone", aapl)
    assert store.explain("gone", aapl).reason is Reason.SEGMENT
    assert dict(store.snapshot().segments) == {"large_caps": LARGE}


def test_a_context_without_an_environment_has_that_of_the_process() -> None:
    flag = FlagDefinition(name="a", enabled=True, environments=frozenset({"staging"}))
    for environment, on in (("staging", True), ("prod", False)):
        around = EvaluationContext(environment=environment)
        store = serving(flag, evaluation_context=lambda around=around: around)
        assert store.is_enabled("a") is on
        assert store.is_enabled("a", FlagContext(environment="staging"))


def test_a_variant_comes_with_its_payload_and_an_unknown_flag_has_none() -> None:
    payload = Payload(type="number", value="20")
    window = Variant(name="slow", weight=1, payload=payload)
    store = serving(
        FlagDefinition(name="window", enabled=True, variants=(window,)),
        FlagDefinition(name="off", variants=(window,)),
    )
    assert store.variant("window") == VariantResult(name="slow", enabled=True, feature_enabled=True, payload=payload)
    assert store.variant("off") == store.variant("none") == VariantResult()
    assert store.unknown() == {"none": 1}


def test_the_snapshot_says_what_is_away() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    assert (store.snapshot().status, store.snapshot().faults) == ("LIVE", frozenset())
    store.mark("redis", present=True)
    tables.away = True
    store.refresh_if_behind()
    assert (store.snapshot().status, store.snapshot().faults) == ("STALE", {"database", "redis"})
    tables.away = False
    store.refresh_if_behind()
    assert (store.snapshot().status, store.snapshot().faults) == ("STALE", {"redis"})
    tables.write(a=False)
    assert store.refresh_if_behind()
    assert (store.snapshot().status, store.snapshot().faults) == ("STALE", {"redis"})
    store.mark("redis", present=False)
    assert (store.snapshot().status, store.snapshot().faults) == ("LIVE", frozenset())


def test_listeners_hear_every_new_snapshot_until_they_are_removed() -> None:
    tables = Tables(a=False)
    store = store_of(tables)
    store.refresh_if_behind()
    heard: list[tuple[int, int, bool]] = []
    remove = store.on_change(lambda before, after: heard.append((before.generation, after.generation, after.stale)))
    store.refresh_if_behind()
    assert heard == []
    tables.write(a=True)
    store.refresh_if_behind()
    store.mark("redis", present=True)
    assert heard == [(1, 2, False), (2, 2, True)]
    remove()
    store.mark("redis", present=False)
    assert len(heard) == 2


def test_a_listener_that_fails_does_not_keep_a_change_from_the_others(logged: list[str]) -> None:
    tables = Tables(a=False)
    store = store_of(tables)
    heard: list[bool] = []
    store.on_change(lambda _before, _after: 1 / 0)
    store.on_change(lambda _before, after: heard.append(after.flags["a"].enabled))
    store.refresh_if_behind()
    assert heard == [False]
    assert store.is_enabled("a") is False
    assert logged.count("flags.listener_failed") == 1


def test_a_fault_keeps_the_prepared_flags() -> None:
    store = store_of(Tables(a=True))
    prepared = store.snapshot().evaluators
    store.mark("redis", present=True)
    assert store.snapshot().evaluators is prepared
