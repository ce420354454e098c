"""Rollouts over HTTP: planned, started, watched, moved and ended, and every refusal said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from helios.errors import Rejected
from helios.rollouts import services
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import Rollout, RolloutAnalysis
from tests.support.people import Api

pytestmark = pytest.mark.django_db

STEPS = [
    {"kind": "shadow", "interval_s": 60, "min_samples": 10},
    {"kind": "live", "percentage": 5, "interval_s": 60, "min_samples": 10},
    {"kind": "live", "percentage": 100, "interval_s": 60, "min_samples": 10},
]
PLAN = {"name": "faster", "kind": "strategy", "target": "demo", "challenger": "momentum", "steps": STEPS}


@dataclass
class Desk:
    """The floors above, as far as a rollout asks them."""

    arms: dict[str, ArmMeasures] = field(
        default_factory=lambda: {
            "champion": ArmMeasures(n_decisions=40, latency_ms=(1.0, 2.0), pnl_bps=(1.0, 2.0, 3.0)),
            "challenger": ArmMeasures(n_decisions=40, n_errors=1, latency_ms=(1.5, 2.5), pnl_bps=(2.0, 3.0, 4.0)),
        }
    )
    failure: Exception | None = None

    def check(self, target: str, challenger: str, _params: dict[str, Any]) -> str:
        if target != "demo" or challenger not in {"momentum", "sma_cross"}:
            raise Rejected(f"target must be a book and challenger a strategy, was {target} and {challenger}")
        return "sma_cross"

    def measure(self, *_: Any) -> dict[str, ArmMeasures]:
        if self.failure:
            raise self.failure
        return self.arms


@pytest.fixture
def desk(settings: Any, control_plane: None) -> Desk:
    made = Desk()
    settings.ROLLOUT_STRATEGIES = made.check
    settings.ROLLOUT_MEASURES = made.measure
    settings.ROLLOUT_REPLAY = made.measure
    settings.ROLLOUT_PROMOTE_STRATEGY = lambda *_, **__: None
    return made


@pytest.fixture
def rollout(desk: Desk, operator: Api) -> Api:
    """A planned rollout, and its operator."""
    made = operator.post("rollouts", {**PLAN, "reason": "the new one is quicker"})
    assert made.status_code == 201, made.content
    return operator


def test_a_rollout_is_planned_and_waits(rollout: Api) -> None:
    row = rollout.get("rollouts/faster").json()
    assert (row["state"], row["live"], row["step"], row["champion"]) == ("PENDING", True, 0, "sma_cross")
    assert [step["percentage"] for step in row["steps"]] == [0, 5, 100]
    assert {guard["kind"] for guard in row["guards"]} == {"hard", "soft"}
    assert row["actor"] == "operator"


def test_a_plan_of_the_default_steps_goes_from_replay_to_everybody(operator: Api, desk: Desk) -> None:
    plan = {name: value for name, value in PLAN.items() if name != "steps"}
    steps = operator.post("rollouts", plan).json()["steps"]
    assert [(step["kind"], step["percentage"]) for step in steps] == [
        ("replay", 0), ("shadow", 0), ("live", 1), ("live", 5), ("live", 25), ("live", 50), ("live", 100),
    ]  # fmt: skip


def test_a_rollout_planned_between_a_look_and_a_start_is_not_started(rollout: Api, trader: Api) -> None:
    seen = trader.get("rollouts/faster").json()["id"]
    assert rollout.post("rollouts/faster/abort").status_code == 200
    other = rollout.post("rollouts", PLAN | {"challenger": "sma_cross", "steps": STEPS[1:]}).json()["id"]
    for action in ("start", "resume", "promote"):
        refused = trader.post(f"rollouts/faster/{action}")
        assert (refused.status_code, f"by its number: {other}, {seen}" in refused.json()["detail"]) == (409, True)
    assert Rollout.objects.get(pk=other).state == "PENDING"
    assert trader.post(f"rollouts/{other}/start").json()["state"] == "RUNNING"
    assert rollout.post("rollouts/faster/pause").json()["state"] == "PAUSED"


def test_an_operator_plans_pauses_and_aborts_and_a_trader_moves_it_on(rollout: Api, trader: Api) -> None:
    for action in ("start", "resume", "promote"):
        refused = rollout.post(f"rollouts/faster/{action}")
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "this needs the role trader, you have operator",
        )
    assert trader.post("rollouts/faster/start").json()["state"] == "RUNNING"
    paused = rollout.post("rollouts/faster/pause", {"reason": "lunch"}).json()
    assert (paused["state"], paused["cause"], paused["reason"]) == ("PAUSED", "person", "lunch")
    assert trader.post("rollouts/faster/resume").json()["state"] == "RUNNING"
    promoted = trader.post("rollouts/faster/promote").json()
    assert (promoted["step"], promoted["serves"]) == (1, "5 % of symbols")
    ended = rollout.post("rollouts/faster/abort", {"reason": "not convinced"}).json()
    assert (ended["state"], ended["live"]) == ("ABORTED", False)
    moves = rollout.get("rollouts/faster/history").json()["results"]
    assert [move["action"] for move in moves] == ["aborted", "stepped", "resumed", "paused", "started", "created"]
    assert moves[0]["actor"] == "operator"
    assert moves[-1]["reason"] == "the new one is quicker"


def test_a_full_promotion_gives_the_challenger_the_place(rollout: Api, trader: Api) -> None:
    trader.post("rollouts/faster/start")
    assert trader.post("rollouts/faster/promote", {"full": True}).json()["state"] == "PROMOTING"


def test_a_move_that_the_state_does_not_allow_is_refused(rollout: Api, trader: Api) -> None:
    response = trader.post("rollouts/faster/resume")
    assert response.status_code == 422
    assert Rollout.objects.get().state == "PENDING"


def test_the_second_of_two_people_is_told(rollout: Api, trader: Api) -> None:
    tag = rollout.get("rollouts/faster")["ETag"]
    assert trader.post("rollouts/faster/start", If_Match=tag).status_code == 200
    assert rollout.post("rollouts/faster/pause", If_Match=tag).status_code == 409
    assert rollout.post("rollouts/faster/pause", {"version": 10**6}).status_code == 409


def test_a_tag_is_of_one_rollout_whatever_its_name(rollout: Api) -> None:
    tag = rollout.get("rollouts/faster")["ETag"]
    rollout.post("rollouts/faster/abort")
    assert rollout.post("rollouts", PLAN).json()["version"] == 0
    refused = rollout.post("rollouts/faster/abort", If_Match=tag)
    assert (refused.status_code, Rollout.objects.get(name="faster", state="PENDING").version) == (409, 0)
    assert "faster must still be number" in refused.json()["detail"]
    assert rollout.post("rollouts/faster/abort", If_Match='"7"').status_code == 409  # a bare version is the body's


def test_an_ended_rollout_keeps_its_number_and_gives_its_name_back(rollout: Api) -> None:
    first = rollout.get("rollouts/faster").json()["id"]
    rollout.post("rollouts/faster/abort")
    second = rollout.post("rollouts", PLAN).json()["id"]
    assert rollout.get("rollouts/faster").json()["id"] == second
    assert rollout.get(f"rollouts/{first}").json()["state"] == "ABORTED"
    assert [row["id"] for row in rollout.get("rollouts", {"live": "true"}).json()["results"]] == [second]
    assert [row["id"] for row in rollout.get("rollouts", {"live": "false"}).json()["results"]] == [first]


@pytest.mark.parametrize("name", ["nobody", "999999", "9" * 30])
def test_an_unknown_rollout_is_not_there(viewer: Api, name: str) -> None:
    for path in ("", "/analyses", "/history", "/statistics"):
        assert viewer.get(f"rollouts/{name}{path}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"name": "123"}, 400, "/name"),
        ({"kind": "magic"}, 400, "/kind"),
        ({"steps": [{"kind": "live", "percentage": 101}]}, 400, "/steps/0/percentage"),
        ({"steps": [{"kind": "live", "percentage": 5}]}, 422, ""),
        ({"guards": [{"metric": "mood", "limit": 1, "kind": "hard"}]}, 400, "/guards/0/metric"),
        ({"target": "nobody"}, 422, ""),
        ({"kind": "module", "target": "predict", "challenger": "9.9.9"}, 404, ""),
        ({"kind": "module", "target": "nobody", "challenger": "1.0.0"}, 404, ""),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    operator: Api, desk: Desk, body: dict[str, Any], status: int, pointer: str
) -> None:
    response = operator.post("rollouts", {**PLAN, **body})
    assert response.status_code == status, response.content
    if pointer:
        assert response.json()["errors"][0]["pointer"] == pointer
    assert not Rollout.objects.exists()


def test_a_second_live_rollout_of_a_target_is_refused(rollout: Api) -> None:
    assert rollout.post("rollouts", {**PLAN, "name": "other"}).status_code == 422


def test_a_plan_sent_twice_under_one_key_is_made_once(operator: Api, desk: Desk) -> None:
    first = operator.post("rollouts", PLAN, Idempotency_Key="plan-1")
    again = operator.post("rollouts", PLAN, Idempotency_Key="plan-1")
    assert first.json()["id"] == again.json()["id"]
    assert Rollout.objects.count() == 1


# --- watching ---


def test_the_arms_are_compared_with_their_intervals(rollout: Api, trader: Api) -> None:
    assert rollout.get("rollouts/faster/statistics").json()["source"] == "none"
    trader.post("rollouts/faster/start")
    report = rollout.get("rollouts/faster/statistics").json()
    assert (report["source"], report["serves"]) == ("decisions", "shadow, nothing served")
    assert report["challenger"]["exceptions"] == 1
    assert report["challenger"]["pnl_bps"]["estimate"] == pytest.approx(3.0)
    difference = report["difference"]["pnl_bps"]
    assert difference["low"] < difference["estimate"] == pytest.approx(1.0)
    assert difference["estimate"] < difference["high"]


@pytest.mark.parametrize("arms", [{}, {"champion": 1}, [1], None])
def test_numbers_of_an_analysis_that_are_not_those_of_two_arms_are_none(rollout: Api, arms: Any) -> None:
    row = Rollout.objects.get()
    RolloutAnalysis.objects.create(rollout=row, step=1, at=timezone.now(), verdict="Success", numbers={"arms": arms})
    report = rollout.get("rollouts/faster/statistics").json()
    assert (report["source"], report["champion"], report["difference"]) == ("none", None, None)


def test_measures_that_cannot_be_read_are_said_and_no_server_error(rollout: Api, trader: Api, desk: Desk) -> None:
    trader.post("rollouts/faster/start")
    desk.failure = RuntimeError("secret path of a defect")
    response = rollout.get("rollouts/faster/statistics")
    assert (response.status_code, response.json()["detail"]) == (
        422,
        "the measures of faster cannot be read: RuntimeError",
    )
    desk.arms, desk.failure = {}, None
    assert rollout.get("rollouts/faster/statistics").status_code == 422


def test_each_analysis_is_listed_with_its_numbers(rollout: Api, trader: Api) -> None:
    trader.post("rollouts/faster/start")
    row = Rollout.objects.get()
    services.advance(row.pk, now=timezone.now() + timezone.timedelta(hours=2))
    (analysis,) = rollout.get("rollouts/faster/analyses").json()["results"]
    assert analysis["verdict"] in {"Success", "Failed", "Inconclusive", "Error"}
    assert analysis["numbers"]["arms"]["champion"]["decisions"] == 40
    rollout.post("rollouts/faster/abort")
    report = rollout.get("rollouts/faster/statistics").json()
    assert (report["source"], report["champion"]["decisions"]) == ("analysis", 40)
