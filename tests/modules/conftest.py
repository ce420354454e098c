from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helios.modules import registry

GOOD = "VERSION = {version!r}\n\ndef run(value):\n    return ({version!r}, value)\n"


@pytest.fixture(autouse=True)
def _own_snapshot() -> Iterator[None]:
    """Every test begins as a fresh process would."""
    registry.forget()
    yield
    registry.forget()


@pytest.fixture
def package(tmp_path: Path, monkeypatch, settings) -> Iterator[str]:
    """An importable package that modules may be loaded from, gone after the test."""
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    settings.MODULE_PACKAGES = (name,)
    yield name
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
