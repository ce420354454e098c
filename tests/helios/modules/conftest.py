from __future__ import annotations

from collections.abc import Iterator

import pytest

from helios.modules import process, services, watch
from helios.modules.models import Module


@pytest.fixture(autouse=True)
def _own_snapshot() -> Iterator[None]:
    """Every test begins as a fresh process would."""
    process.forget()
    watch.forget()
    yield
    process.forget()
    watch.forget()


@pytest.fixture
def oracle(open_gate, code) -> dict[str, str]:
    """A slot in use with 1.0.0, and 1.1.0 and 2.0.0 registered: label by version. A user needs it below 2."""
    Module.objects.all().delete()
    labels = {}
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        labels[version] = services.register("oracle", code("oracle", version=version)).label
    services.activate("oracle", labels["1.0.0"])
    services.register("user", code("user"), dependencies={"oracle": "^1.0.0"})
    services.activate("user")
    process.refresh_if_behind()
    return labels


def used() -> str:
    """The label in use of the slot `oracle`."""
    process.refresh_if_behind()
    return process.resolve("oracle").version


@pytest.fixture
def chain(code) -> None:
    """Two modules of the test's own, the second needing the first."""
    Module.objects.all().delete()
    services.register("source", code("source"), "1.0.0")
    services.register("sink", code("sink"), "1.0.0", dependencies={"source": "^1.0.0"})


@pytest.fixture
def tiny(settings) -> None:
    settings.MODULE_SUITES = {**settings.MODULE_SUITES, "tiny": "tests.support.gate_tiny"}
    settings.MODULE_GATES = {"echo": ("tiny",)}
    settings.MODULE_CALLS = "tests.support.gate_tiny.CALLS"
