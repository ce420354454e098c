"""What every process holds in memory has a bound: in number, and in the size of each."""

from __future__ import annotations

from typing import Any

import pytest

from helios.breakers.models import CircuitBreaker
from helios.control import bounds
from helios.flags import segments, services
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment
from helios.modules.models import Module
from tests.support.people import Api

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("control_plane")]

KINDS: list[tuple[str, Any, str, dict[str, Any], str]] = [
    ("FLAGS", FeatureFlag, "feature-flags", {}, "flags"),
    ("SEGMENTS", FlagSegment, "segments", {"constraints": []}, "segments"),
    ("BREAKERS", CircuitBreaker, "circuit-breakers", {}, "breakers"),
    ("SLOTS", Module, "modules/register", {"path": "tiers.risk", "new_slot": True}, "slots of modules"),
]


@pytest.mark.parametrize(("bound", "model", "path", "body", "what"), KINDS, ids=[each[0] for each in KINDS])
def test_there_are_so_many_of_each_kind_and_one_more_is_refused(
    trader: Api, monkeypatch: pytest.MonkeyPatch, bound: str, model: Any, path: str, body: dict[str, Any], what: str
) -> None:
    monkeypatch.setattr(bounds, bound, 2)
    answers = [trader.post(path, {"name": f"spare_{number}", **body}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 422], answers[0].content
    detail = f"there may be at most 2 {what} beside those that ship with Helios, and there are"
    assert answers[2].json()["detail"] == detail
    assert model.objects.filter(name__startswith="spare_").count() == 2


def test_what_ships_with_helios_always_finds_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FLAGS", 0)
    FeatureFlag.objects.filter(name="auto_trading").delete()
    assert [change.name for change in services.install_missing(actor="migration")] == ["auto_trading"]


def test_a_flag_and_a_segment_have_a_size_and_one_that_is_larger_can_still_be_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services.create("wide", {"whitelist": [f"SYMBOL{number}" for number in range(500)]}, actor="ann")
    with pytest.raises(InvalidFlagError, match="must have at most 65536 bytes as JSON, wide had"):
        services.whitelist_add("wide", [f"OTHER{number}" for number in range(8_000)], actor="ann")
    with pytest.raises(InvalidFlagError, match="must have at most 65536 bytes as JSON, told had"):
        segments.create("told", {"description": "x" * bounds.FLAG_BYTES}, actor="ann")
    assert len(FeatureFlag.objects.get(name="wide").whitelist) == 500
    monkeypatch.setattr(bounds, "FLAG_BYTES", 100)
    assert services.kill("wide", actor="ann").changed
    assert services.whitelist_remove("wide", ["SYMBOL7"], actor="ann").changed
