from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helios.modules import loading, process, services, watch
from helios.modules.errors import ModuleLoadFailed
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleVersion

GOOD = "VERSION = {version!r}\n\ndef run(value):\n    return ({version!r}, value)\n"


@pytest.fixture(autouse=True)
def _own_snapshot() -> Iterator[None]:
    """Every test begins as a fresh process would."""
    process.forget()
    watch.forget()
    yield
    process.forget()
    watch.forget()


@pytest.fixture
def open_gate(monkeypatch) -> None:
    """The gate only imports, in this process: its own tests start processes, these would wait for them."""

    def imports(version: ModuleVersion, *_: object, **__: object) -> str:
        try:
            process._implementation(version.module.name, version.digest, version.path, version.version)
        except ModuleLoadFailed as error:
            return str(error).removeprefix(f"module {version.module.name} ")
        return ""

    monkeypatch.setattr(runs, "passes", imports)


@pytest.fixture
def package(tmp_path: Path, monkeypatch, settings) -> Iterator[str]:
    """A package that modules may be loaded from, gone after the test."""
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    settings.MODULE_PACKAGES = (name, "tiers")
    settings.MODULES_DIR = tmp_path / "laid_out"
    yield name
    for slot, digest in loading.loaded():
        if loading._known[loading.copy_name(slot, digest)].place.is_relative_to(tmp_path):
            loading.forget_code(slot, digest)
    for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[loaded]


@pytest.fixture
def code(package: str, tmp_path: Path) -> Callable[..., str]:
    """Write a module's code; returns its dotted path."""

    def write(name: str, source: str | None = None, *, version: str = "1.0.0") -> str:
        text = GOOD.format(version=version) if source is None else source
        (tmp_path / package / f"{name}.py").write_text(text)
        return f"{package}.{name}"

    return write


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
