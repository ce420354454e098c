"""Modules over HTTP: from registering a version to its swap and back; each refusal says why, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helios.control import bounds
from helios.modules import jobs, services
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleJob, ModuleSwap, ModuleVersion
from tests.helios.conftest import CODE
from tests.support.people import Api

pytestmark = pytest.mark.django_db

Write = Callable[..., str]


def done(api: Api, response: Any) -> Any:
    """The job that a request asked for, as its Location shows it after a worker has done it."""
    assert response.status_code == 202, response.content
    asked = response.json()
    assert (asked["state"], asked["detail"]) == ("QUEUED", "waits for a worker of queue maintenance")
    assert api.get(response["Location"]).json() == asked
    jobs.run(asked["id"])
    return api.get(response["Location"]).json()


def refused(response: Any, status: int, text: str) -> None:
    """Refused at once, with nothing queued."""
    assert (response.status_code, text in response.json()["detail"]) == (status, True), response.content
    assert not ModuleJob.objects.filter(state="QUEUED").exists()


@pytest.fixture
def oracle(trader: Api, code: Write, open_gate: None) -> dict[str, str]:
    """A slot in use with 1.0.0 and with 1.1.0 registered: label by version."""
    labels = {}
    for version in ("1.0.0", "1.1.0"):
        made = trader.post(
            "modules/register", {"name": "oracle", "path": code("oracle", version=version), "new_slot": True}
        )
        assert made.status_code == 201, made.content
        labels[version] = made.json()["label"]
    for action, state in (("load", "LOADED"), ("activate", "ACTIVE")):
        job = done(trader, trader.post(f"modules/oracle/{action}", {"version": "1.0.0"}))
        assert (job["kind"], job["state"], job["version"]["state"]) == (action, "SUCCEEDED", state)
    return labels


# --- reading ---


def test_every_shipped_stage_is_listed_with_what_fills_it(viewer: Api) -> None:
    rows = {module["name"]: module for module in viewer.get("modules").json()["results"]}
    assert list(rows) == sorted(rows)
    assert {"ingest", "features", "predict", "risk", "llm", "portfolio", "execute"} <= set(rows)
    assert rows["risk"]["state"] == "ACTIVE"
    assert rows["risk"]["dependencies"] == {"predict": "^1.0.0"}


def test_modules_can_be_narrowed(viewer: Api) -> None:
    assert viewer.get("modules", {"state": "FAILED"}).json()["count"] == 0
    assert viewer.get("modules", {"state": "LOST"}).status_code == 400


def test_all_states_stand_on_one_page(viewer: Api) -> None:
    body = viewer.get("modules/status").json()
    assert body["modules"]["risk"] == "ACTIVE"
    assert sum(body["counts"].values()) == Module.objects.count()
    assert body["swaps_open"] == []


def test_a_module_tells_who_needs_it_and_what_gates_it(viewer: Api) -> None:
    status = viewer.get("modules/risk/status").json()
    assert status["needed_by"] == ["llm"]
    assert status["gates"] == ["generic", "risk"]
    assert status["swap"] is None


@pytest.mark.parametrize("path", ["status", "versions", "test-history"])
def test_an_unknown_module_is_answered_with_the_nearest_name(viewer: Api, path: str) -> None:
    response = viewer.get(f"modules/portfollio/{path}")
    assert response.status_code == 404
    assert response.json()["detail"] == "no module is named 'portfollio'; did you mean portfolio?"


# --- register, load, activate, unload ---


def test_versions_of_a_slot_are_listed_newest_first(trader: Api, oracle: dict[str, str]) -> None:
    versions = trader.get("modules/oracle/versions").json()["results"]
    assert [version["label"] for version in versions] == [oracle["1.1.0"], oracle["1.0.0"]]
    assert [version["state"] for version in versions] == ["UNLOADED", "ACTIVE"]
    assert versions[0]["registered_by"] == "trader"
    assert len(versions[0]["digest"]) == 64


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"path": "os.path"}, 422, "os.path"),
        ({"path": "../../etc"}, 422, ""),
        ({"path": "tiers.nothing"}, 422, "tiers.nothing"),
        ({"path": "tiers.risk", "version": "99.0.0"}, 422, "99.0.0"),
        ({"path": "tiers.risk", "version": "one"}, 422, "one"),
        ({"path": "tiers.risk", "dependencies": {"nobody": "^1.0.0"}}, 422, "nobody"),
        ({"path": "tiers.risk", "dependencies": {"risk": "soon"}}, 422, "soon"),
        ({"path": "tiers.risk", "dependencies": ["risk"]}, 400, "dictionary"),
        ({"path": 7}, 400, "must be a text"),
        ({"name": "no name", "path": "tiers.risk"}, 400, "/name"),
        ({}, 400, "/path"),
    ],
)
def test_what_cannot_be_registered_is_refused(trader: Api, body: dict[str, Any], status: int, text: str) -> None:
    before = ModuleVersion.objects.count()
    response = trader.post("modules/register", {"name": "spare", "new_slot": True, **body})
    assert response.status_code == status
    assert text in response.content.decode()
    assert ModuleVersion.objects.count() == before


def test_a_misspelt_name_makes_no_slot_and_a_new_one_is_a_traders(operator: Api, trader: Api) -> None:
    wanted = {"name": "risc", "path": "tiers.risk"}
    answer = operator.post("modules/register", wanted)
    assert answer.status_code == 404
    assert "no module is named 'risc'; there are ingest, features, predict, risk" in answer.json()["detail"]
    refused = operator.post("modules/register", wanted | {"new_slot": True})
    assert (refused.status_code, refused.json()["detail"]) == (403, "this needs the role trader, you have operator")
    assert not Module.objects.filter(name="risc").exists()
    assert trader.post("modules/register", wanted | {"new_slot": True}).status_code == 201


def test_code_that_raises_at_import_is_refused_with_its_reason(trader: Api, code: Write, open_gate: None) -> None:
    path = code("broken", source="VERSION = '1.0.0'\nraise RuntimeError('no licence')\ndef run(value): return value\n")
    assert trader.post("modules/register", {"name": "broken", "path": path, "new_slot": True}).status_code == 201
    job = done(trader, trader.post("modules/broken/load"))
    assert (job["state"], job["version"]["state"]) == ("FAILED", "FAILED")
    assert "no licence" in job["detail"]
    assert "no licence" in trader.get("modules/broken/status").json()["error"]


def test_a_module_that_another_needs_cannot_be_unloaded(trader: Api) -> None:
    response = trader.post("modules/risk/unload")
    assert response.status_code == 422
    assert "needed by llm" in response.json()["detail"]


def test_a_slot_is_emptied(trader: Api, oracle: dict[str, str]) -> None:
    assert trader.post("modules/oracle/unload").json()["active"] is None


def test_an_operator_makes_ready_and_a_trader_puts_in_charge(
    operator: Api, oracle: dict[str, str], open_gate: None
) -> None:
    assert done(operator, operator.post("modules/oracle/load", {"version": "1.1.0"}))["state"] == "SUCCEEDED"
    for path, order in (
        ("modules/swap", {"name": "oracle", "version": "1.1.0"}),
        ("modules/oracle/activate", {"version": "1.1.0"}),
        ("modules/oracle/rollback", {}),
    ):
        refused(operator.post(path, order), 403, "this needs the role trader, you have operator")


def test_an_unknown_version_is_not_there(trader: Api, oracle: dict[str, str]) -> None:
    for action in ("load", "activate", "test"):
        refused(trader.post(f"modules/oracle/{action}", {"version": "9.9.9"}), 404, "has no version 9.9.9")
    refused(trader.post("modules/swap", {"name": "oracle", "version": "9.9.9"}), 404, "has no version 9.9.9")


def test_what_does_not_fit_is_refused_at_once(trader: Api, oracle: dict[str, str], code: Write) -> None:
    needing = {"name": "needing", "path": code("needing"), "dependencies": {"oracle": "^2.0.0"}, "new_slot": True}
    assert trader.post("modules/register", needing).status_code == 201
    refused(trader.post("modules/needing/load"), 422, "needs oracle")
    refused(trader.post("modules/needing/activate"), 422, "needs oracle")
    refused(trader.post("modules/oracle/activate", {"version": "1.1.0"}), 422, "is in use as")


# --- swap and rollback ---


def test_a_swap_answers_with_its_record(trader: Api, oracle: dict[str, str]) -> None:
    job = done(trader, trader.post("modules/swap", {"name": "oracle", "version": "1.1.0", "reason": "sharper"}))
    swap = job["swap"]
    assert (job["state"], job["reason"], swap["state"], swap["error"]) == ("SUCCEEDED", "sharper", "SWITCHED", "")
    assert (swap["from_version"], swap["to_version"]) == (oracle["1.0.0"], oracle["1.1.0"])
    assert (swap["actor"], swap["reason"], swap["module"]) == ("trader", "sharper", "oracle")
    assert trader.get(f"modules/swaps/{swap['id']}").json() == swap
    status = trader.get("modules/oracle/status").json()
    assert (status["active"], status["previous"]) == (oracle["1.1.0"], oracle["1.0.0"])
    assert status["swap"]["id"] == swap["id"]


def test_a_swap_names_what_was_seen(trader: Api, oracle: dict[str, str], code: Write) -> None:
    other = {"name": "oracle", "path": code("oracle", source=CODE.format(version="1.1.0") + "# other\n")}
    digest = trader.post("modules/register", other).json()["digest"]
    refused(trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"}), 409, "1.1.0 may be 1.1.0+")
    job = done(trader, trader.post("modules/swap", {"name": "oracle", "version": digest[:12]}))
    assert (job["state"], job["version"]["digest"]) == ("SUCCEEDED", digest)


def test_a_swap_is_taken_back(trader: Api, oracle: dict[str, str]) -> None:
    done(trader, trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"}))
    refused(trader.post("modules/oracle/rollback", {"from_version": oracle["1.0.0"]}), 409, "must be in use as 1.0.0+")
    back = trader.post(
        "modules/oracle/rollback", {"reason": "I liked the old one", "from_version": oracle["1.1.0"]}
    ).json()
    assert (back["kind"], back["to_version"]) == ("rollback", oracle["1.0.0"])
    assert trader.get("modules/oracle/status").json()["active"] == oracle["1.0.0"]
    kinds = [swap["kind"] for swap in trader.get("modules/swaps", {"module": "oracle"}).json()["results"]]
    assert kinds[0] == "rollback"


def test_a_swap_sent_twice_under_one_key_happens_once(trader: Api, oracle: dict[str, str]) -> None:
    wanted = {"name": "oracle", "version": "1.1.0"}
    first = trader.post("modules/swap", wanted, Idempotency_Key="deploy-1")
    again = trader.post("modules/swap", wanted, Idempotency_Key="deploy-1")
    assert again["Idempotency-Replayed"] == "true"
    assert (again.status_code, again["Location"], again.json()) == (202, first["Location"], first.json())
    done(trader, first)
    third = trader.post("modules/swap", wanted, Idempotency_Key="deploy-1")
    assert (third.status_code, third["Location"]) == (202, first["Location"])
    assert ModuleJob.objects.filter(kind="swap").count() == 1
    assert ModuleSwap.objects.filter(module__name="oracle", kind="swap").count() == 1


def test_a_swap_that_fails_its_tests_leaves_all_as_it_was(
    trader: Api, oracle: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "probabilities sum to 0.7")
    job = done(trader, trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"}))
    assert (job["state"], job["swap"]["state"]) == ("FAILED", "FAILED")
    assert "probabilities sum to 0.7" in job["detail"]
    assert trader.get("modules/oracle/status").json()["active"] == oracle["1.0.0"]
    failed = trader.get("modules/swaps", {"state": "FAILED"}).json()["results"][0]
    assert "probabilities sum to 0.7" in failed["error"]


def test_a_swap_during_a_swap_is_a_conflict(
    trader: Api, oracle: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[int] = []

    def ask_again(*_: object, **__: object) -> str:
        during.append(trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"}).status_code)
        return ""

    monkeypatch.setattr(runs, "passes", ask_again)
    first = trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"})
    waiting = trader.post("modules/swap", {"name": "oracle", "version": "1.1.0"})
    assert waiting.status_code == 409
    assert "was asked for by trader at" in waiting.json()["detail"]
    assert done(trader, first)["state"] == "SUCCEEDED"
    assert during == [409]


def test_a_swap_to_what_is_in_use_is_refused(trader: Api, oracle: dict[str, str]) -> None:
    assert trader.post("modules/swap", {"name": "oracle", "version": "1.0.0"}).status_code == 422
    assert trader.post("modules/oracle/rollback").status_code == 422


def test_an_operator_is_told_when_too_many_tests_wait_and_cancels_one(
    operator: Api, oracle: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "WAITING_TESTS_OF_ONE", 1)
    waiting = operator.post("modules/oracle/test")
    full = operator.post("modules/oracle/load")
    assert (full.status_code, full["Retry-After"]) == (429, "30")
    assert "at most 1 tests and loads of operator may wait" in full.json()["detail"]
    ended = operator.post(f"{waiting['Location']}/cancel", {"reason": "misspelt"})
    assert (ended.status_code, ended.json()["state"]) == (200, "FAILED")
    assert ended.json()["detail"] == "cancelled by operator: misspelt"
    assert operator.post(f"{waiting['Location']}/cancel").status_code == 422
    assert operator.post("modules/jobs/999999/cancel").status_code == 404
    assert operator.post("modules/oracle/load").status_code == 202


@pytest.mark.parametrize("number", ["999999", "9223372036854775808"])
@pytest.mark.parametrize("kind", ["swaps", "jobs"])
def test_a_swap_and_a_job_that_never_were_are_not_there(viewer: Api, kind: str, number: str) -> None:
    assert viewer.get(f"modules/{kind}/{number}").status_code == 404


# --- tests in a process of their own ---


def test_a_version_is_tested_in_a_process_of_its_own_and_the_result_is_kept(
    trader: Api, code: Write, open_gate: None
) -> None:
    trader.post("modules/register", {"name": "oracle", "path": code("oracle"), "new_slot": True})
    job = done(trader, trader.post("modules/oracle/test?module_type=generic"))
    assert (job["state"], job["suites"]) == ("SUCCEEDED", ["generic"])
    run = job["test"]
    assert (run["module"], run["suites"], run["actor"]) == ("oracle", ["generic"], "trader")
    assert "generic" in {result["suite"] for result in run["results"]}, run
    history = trader.get("modules/oracle/test-history").json()["results"]
    assert history == [{name: value for name, value in run.items() if name not in {"results", "output"}}]
    assert trader.get(f"modules/oracle/test-history/{run['id']}").json() == run
    for other in (f"features/test-history/{run['id']}", "oracle/test-history/0", f"oracle/test-history/{2**63}"):
        assert trader.get(f"modules/{other}").status_code == 404
    assert trader.get("modules/oracle/test-history", {"passed": str(not run["passed"])}).json()["count"] == 0
    assert trader.get("modules/oracle/status").json()["last_test"]["id"] == run["id"]


@pytest.mark.parametrize(
    ("query", "body", "where"),
    [
        ("?module_type=astrology", {}, {"parameter": "module_type"}),
        ("?module_type=ml", {"suites": ["ml"]}, {"pointer": "/suites"}),
        ("", {"suites": ["astrology"]}, {"pointer": "/suites/0"}),
        ("", {"suites": []}, {"pointer": "/suites"}),
    ],
)
def test_suites_that_are_none_are_named(trader: Api, query: str, body: dict[str, Any], where: dict[str, str]) -> None:
    response = trader.post(f"modules/risk/test{query}", body)
    assert response.status_code == 400
    assert where.items() <= response.json()["errors"][0].items()


def test_nothing_is_forgotten_between_the_services_and_the_api() -> None:
    inner = {"check_registration", "configure", "get", "recover", "restore_shipped", "seal"}
    assert set(services.__all__) - inner == {
        "activate",
        "load",
        "register",
        "rollback",
        "swap",
        "unload",
    }
