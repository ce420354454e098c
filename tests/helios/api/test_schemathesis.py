"""Schemathesis over the OpenAPI document: whatever is asked, no 5xx, and every answer is one that it promises.

Each case runs in a transaction that is rolled back. Half of the cases name something that exists. The gate's processes
are left out, for they take seconds; `tests/helios/api/test_module_api.py` starts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from helios.flags import segments
from helios.flags import services as flag_services
from helios.modules.gate import runs
from helios.modules.models import ModuleTestRun
from helios.modules.rows import find, version_of
from helios.rollouts import services as rollouts
from helios.rollouts.core.measures import ArmMeasures
from helios.web.roles import Role, Rule, policy
from tests.support.people import Api, api_of

pytestmark = [pytest.mark.django_db, pytest.mark.hypothesis]

EXAMPLES = settings.default.max_examples // 8  # `make soak` asks for more
SCHEMA = SchemaGenerator().get_schema(public=True)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# A body that is too large is refused unread, as the document says.
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
KNOWN = {
    "feature-flags": "pilot",
    "circuit-breakers": "llm_api",
    "modules": "risk",
    "rollouts": "faster",
    "segments": "pilots",
    "books": "demo",
}


@pytest.fixture(scope="module")
def document() -> Any:
    loaded = schemathesis.openapi.from_dict(SCHEMA, config=CONFIG)
    loaded.app = get_wsgi_application()
    return loaded


@pytest.fixture
def desk(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The floors above a rollout, and the gate, as functions that answer at once."""
    arms = {arm: ArmMeasures(n_decisions=5, pnl_bps=(1.0, 2.0)) for arm in ("champion", "challenger")}
    settings.ROLLOUT_STRATEGIES = lambda *_: "sma_cross"
    settings.ROLLOUT_MEASURES = settings.ROLLOUT_REPLAY = lambda *_: arms

    def run_suites(name: str, version: str = "", suites: Any = None, *, actor: str = "", **_: Any) -> Any:
        wanted = runs.suites_of(name, suites)
        tested = version_of(find(name), version)
        row = ModuleTestRun.objects.create(
            module=name, version=tested.label, digest=tested.digest, suites=list(wanted), passed=True,
            actor=actor, started_at=timezone.now(), duration_ms=1,
        )  # fmt: skip
        return runs.TestReport(
            module=name, version=tested.label, digest=tested.digest, suites=tuple(wanted), passed=True, results=(),
            output="", duration_ms=1, lacking=(), run_id=row.pk,
        )  # fmt: skip

    monkeypatch.setattr(runs, "run_suites", run_suites)


@pytest.fixture
def api(control_plane: None, desk: None, unlimited: None) -> Iterator[Api]:
    """A trader without limits, and one thing of each kind for the cases to find."""
    segments.create("pilots", {"constraints": []}, actor="tests")
    variants = [{"name": "a", "weight": 1, "payload": {"type": "string", "value": "x"}}]
    flag_services.create("pilot", {"enabled": True, "variants": variants, "segments": ["pilots"]}, actor="tests")
    row = rollouts.create("faster", kind="strategy", target="demo", challenger="momentum", actor="tests")
    rollouts.start(row.pk, actor="tests")
    for signal in (request_started, request_finished):  # as Django's own test client does: the transaction is ours
        signal.disconnect(close_old_connections)
    yield api_of(Role.TRADER)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def operations() -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, methods in SCHEMA["paths"].items() for method in methods]


def _cases(operation: Any, path: str, mode: GenerationMode) -> st.SearchStrategy[Any]:
    kind = next((part for part in path.split("/") if part in KNOWN), "")
    anything = operation.as_strategy(generation_mode=mode)
    if "{name}" not in path or mode is GenerationMode.NEGATIVE:
        return anything
    return st.one_of(anything, operation.as_strategy(generation_mode=mode, path_parameters={"name": KNOWN[kind]}))


def _run(document: Any, api: Api, method: str, path: str, mode: GenerationMode, checks: list[Any]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(document[path][method], path, mode))
    def ask(case: Any) -> None:
        with rolled_back():
            response = case.call(headers={"Authorization": f"Token {api.token}"})
            case.validate_response(response, checks=checks)

    ask()


@pytest.mark.parametrize(("method", "path"), operations())
def test_what_fits_the_document_gets_an_answer_that_fits_it_too(
    document: Any, api: Api, method: str, path: str
) -> None:
    _run(document, api, method, path, GenerationMode.POSITIVE, CHECKS)


def can_be_wrong(method: str, path: str) -> bool:
    """Something can be said wrong: a body, a parameter or a number."""
    operation = SCHEMA["paths"][path][method.lower()]
    free = [each for each in operation.get("parameters", []) if each["name"] != "name" or each["in"] != "path"]
    return method != "GET" or bool(free)


@pytest.mark.parametrize(("method", "path"), [each for each in operations() if can_be_wrong(*each)])
def test_what_does_not_fit_the_document_is_refused_and_no_server_error(
    document: Any, api: Api, method: str, path: str
) -> None:
    _run(document, api, method, path, GenerationMode.NEGATIVE, [*CHECKS, negative_data_rejection])


def test_every_operation_is_asked() -> None:
    declared: list[Rule] = [rule for rules in policy().values() for rule in rules.values() if rule.role is not None]
    assert len(operations()) == len(declared)
