"""The official OpenFeature API over Helios's flags: values, reasons, error codes and events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from helios import flags
from helios.flags import process, services
from helios.flags.openfeature import HeliosProvider, context_of

pytestmark = pytest.mark.django_db
PAYLOADS = {
    "text": ("string", "close"),
    "whole": ("number", "12"),
    "half": ("number", "0.5"),
    "big": ("number", "1e3"),
    "nan": ("number", "twelve"),
    "object": ("json", '{"steps": [1, 2]}'),
    "list": ("json", "[1, 2]"),
    "bare": ("json", "7"),
    "broken": ("json", "{"),
    "names": ("csv", 'AAPL,"A, B"'),
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenFeatureClient]:
    """A client of the API, with flags whose one variant carries each payload; the listener's thread stays out."""
    monkeypatch.setattr(flags, "start_listener", lambda: None)
    for name, (kind, value) in PAYLOADS.items():
        variant = {"name": f"v-{name}", "weight": 1, "payload": {"type": kind, "value": value}}
        services.create(name, {"enabled": True, "variants": [variant]}, actor="ada")
    services.create("empty_handed", {"enabled": True, "variants": [{"name": "plain", "weight": 1}]}, actor="ada")
    api.set_provider_and_wait(HeliosProvider())
    client = api.get_client()
    flags.refresh_if_behind()
    yield client
    api.shutdown()
    api.clear_providers()


def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the event did not come")


def test_a_boolean_is_whether_the_flag_is_on_with_its_reason(client: OpenFeatureClient) -> None:
    on = client.get_boolean_details("garch_volatility", False)
    assert (on.value, on.reason, on.variant, on.error_code) == (True, Reason.STATIC, "on", None)
    off = client.get_boolean_details("auto_trading", True)
    assert (off.value, off.reason, off.variant) == (False, Reason.DISABLED, "off")
    assert on.flag_metadata == {"generation": flags.snapshot().generation, "stale": False}


def test_shares_are_splits_and_lists_are_matches(client: OpenFeatureClient) -> None:
    services.enable("websocket_v2", actor="ada")
    services.whitelist_add("advanced_risk_engine", ["ada"], actor="ada")
    services.enable("advanced_risk_engine", actor="ada")
    flags.refresh_if_behind()
    split = client.get_boolean_details("websocket_v2", False, EvaluationContext(attributes={"symbol": "AAPL"}))
    assert split.reason == Reason.SPLIT
    listed = client.get_boolean_details("advanced_risk_engine", False, EvaluationContext("ada"))
    assert (listed.value, listed.reason) == (True, Reason.TARGETING_MATCH)


def test_the_targeting_key_is_the_user_and_known_attributes_are_fields() -> None:
    given = EvaluationContext(
        "ada", {"symbol": "AAPL", "userId": "bob", "vip": True, "desk": 7, "since": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    assert context_of(given) == flags.FlagContext(
        symbol="AAPL",
        user="ada",
        attributes={"vip": "true", "desk": "7", "since": "2026-01-01T00:00:00+00:00"},
    )
    assert context_of(EvaluationContext(attributes={"userId": "bob", "tags": ["a"]})) == flags.FlagContext(
        user="bob", attributes={"tags": '["a"]'}
    )
    assert context_of(None) == flags.FlagContext()


@pytest.mark.parametrize(
    ("kind", "name", "default", "value"),
    [
        ("string", "text", "", "close"),
        ("string", "names", "", 'AAPL,"A, B"'),
        ("integer", "whole", 0, 12),
        ("integer", "big", 0, 1000),
        ("float", "half", 0.0, 0.5),
        ("float", "whole", 0.0, 12.0),
        ("object", "object", {}, {"steps": [1, 2]}),
        ("object", "list", [], [1, 2]),
        ("object", "names", [], ["AAPL", "A, B"]),
    ],
)
def test_payloads_become_values_of_the_asked_type(
    client: OpenFeatureClient, kind: str, name: str, default: Any, value: Any
) -> None:
    answer = getattr(client, f"get_{kind}_details")(name, default)
    assert (answer.value, answer.variant, answer.error_code) == (value, f"v-{name}", None)
    assert answer.reason == Reason.SPLIT


@pytest.mark.parametrize(
    ("kind", "name", "default", "code"),
    [
        ("string", "whole", "x", ErrorCode.TYPE_MISMATCH),
        ("integer", "half", 3, ErrorCode.TYPE_MISMATCH),
        ("integer", "text", 3, ErrorCode.TYPE_MISMATCH),
        ("float", "nan", 3.0, ErrorCode.PARSE_ERROR),
        ("object", "broken", {}, ErrorCode.PARSE_ERROR),
        ("object", "bare", {}, ErrorCode.TYPE_MISMATCH),
        ("object", "text", {}, ErrorCode.TYPE_MISMATCH),
        ("string", "empty_handed", "x", ErrorCode.TYPE_MISMATCH),
        ("string", "no_such_flag", "x", ErrorCode.FLAG_NOT_FOUND),
        ("boolean", "no_such_flag", True, ErrorCode.FLAG_NOT_FOUND),
    ],
)
def test_what_cannot_be_had_is_the_default_with_an_error_code(
    client: OpenFeatureClient, kind: str, name: str, default: Any, code: ErrorCode
) -> None:
    answer = getattr(client, f"get_{kind}_details")(name, default)
    assert (answer.value, answer.error_code, answer.reason) == (default, code, Reason.ERROR)
    assert answer.error_message


def test_a_flag_without_a_variant_gives_the_default_and_no_error(client: OpenFeatureClient) -> None:
    without = client.get_string_details("garch_volatility", "mine")
    assert (without.value, without.reason, without.error_code) == ("mine", Reason.DEFAULT, None)
    services.disable("text", actor="ada")
    flags.refresh_if_behind()
    off = client.get_string_details("text", "mine")
    assert (off.value, off.reason, off.variant) == ("mine", Reason.DISABLED, "disabled")


def test_coroutines_get_the_same_answers(client: OpenFeatureClient) -> None:
    async def ask() -> bool:
        return await client.get_boolean_value_async("garch_volatility", False)

    assert asyncio.run(ask()) is True


def test_a_change_is_told_with_the_names_of_the_flags(client: OpenFeatureClient) -> None:
    told: list[EventDetails] = []
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
    services.enable("auto_trading", actor="ada")
    flags.refresh_if_behind()
    _wait(lambda: bool(told))
    assert [each.flags_changed for each in told] == [["auto_trading"]]
    assert told[0].provider_name == "Helios"
    client.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)


def test_growing_stale_and_being_current_again_are_events_and_a_reason(client: OpenFeatureClient) -> None:
    told: list[str] = []
    client.add_handler(ProviderEvent.PROVIDER_STALE, lambda _: told.append("stale"))
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda _: told.append("ready"))
    _wait(lambda: told == ["ready"])  # who begins to listen to a ready provider is told at once
    process._store.mark("redis", present=True)
    _wait(lambda: told == ["ready", "stale"])
    assert client.get_provider_status() is ProviderStatus.STALE
    assert client.get_boolean_details("garch_volatility", False).reason == Reason.STALE
    assert client.get_string_details("text", "").reason == Reason.STALE
    process._store.mark("redis", present=False)
    assert client.get_provider_status() is ProviderStatus.READY
    _wait(lambda: told == ["ready", "stale", "ready"])


def test_a_provider_that_was_taken_away_hears_nothing_more(client: OpenFeatureClient) -> None:
    provider = HeliosProvider()
    provider.initialize(EvaluationContext())
    heard: list[object] = []
    provider.attach(lambda *event: heard.append(event))
    provider.shutdown()
    services.enable("auto_trading", actor="ada")
    flags.refresh_if_behind()
    assert heard == []
    assert provider.get_metadata().name == "Helios"
