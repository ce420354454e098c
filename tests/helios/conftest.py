"""People of every role and their clients, and modules that are gone after the test."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from loguru import logger

from helios import flags
from helios.breakers import services as breakers
from helios.breakers.process import forget
from helios.flags.models import FeatureFlag
from helios.flags.services import install_missing
from helios.modules import loading, process
from helios.modules import services as modules
from helios.modules.errors import ModuleLoadFailed
from helios.modules.gate import runs
from helios.modules.models import ModuleVersion
from helios.web import throttling
from helios.web.roles import Role
from tests.support.people import Api, api_of

CODE = "VERSION = {version!r}\n\ndef run(value):\n    return ({version!r}, value)\n"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The names of the log events of the test, in order."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    yield lines
    logger.remove(sink)


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Rates that no test reaches."""
    settings.API_RATES = dict.fromkeys(("read", "write", "sensitive", "safer", "anon"), "1000000/s")


@pytest.fixture
def control_plane(db: None, clean_redis: redis.Redis) -> Iterator[None]:
    """Flags, breakers and modules as on a fresh installation, in an empty Redis, and nothing remembered."""
    _forget()
    if not FeatureFlag.objects.exists():  # a transactional test before this one took the shipped rows with it
        install_missing(actor="tests")
        breakers.restore_shipped()
        modules.restore_shipped(actor="tests")
    yield
    _forget()


def _forget() -> None:
    forget()
    flags.forget()
    process.forget()
    throttling._WINDOWS._admitted.clear()


@pytest.fixture
def viewer(control_plane: None) -> Api:
    return api_of(Role.VIEWER)


@pytest.fixture
def operator(control_plane: None) -> Api:
    return api_of(Role.OPERATOR)


@pytest.fixture
def trader(control_plane: None) -> Api:
    return api_of(Role.TRADER)


@pytest.fixture
def open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate only imports, in this process: its own tests start processes, others would wait for them."""

    def imports(version: ModuleVersion, *_: object, **__: object) -> str:
        try:
            process._implementation(version.module.name, version.digest, version.path, version.version)
        except ModuleLoadFailed as error:
            return str(error).removeprefix(f"module {version.module.name} ")
        return ""

    monkeypatch.setattr(runs, "passes", imports)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[str]:
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
        text = CODE.format(version=version) if source is None else source
        (tmp_path / package / f"{name}.py").write_text(text)
        return f"{package}.{name}"

    return write
