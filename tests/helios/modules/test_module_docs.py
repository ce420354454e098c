"""The module that docs/modules.md shows is one: it is registered, loaded, called, and hands its memory over."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from helios.modules import process, services
from helios.modules.management.commands.modules import TEXTS
from tests.support.places import ROOT

DOCS = ROOT / "docs" / "modules.md"
README = ROOT / "README.md"
MODEL = SimpleNamespace(probabilities=lambda features: np.full((*features.shape[:2], 3), 1 / 3))


def python_in(page):
    (source,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return source


@pytest.mark.django_db
@pytest.mark.usefixtures("open_gate")
def test_the_readmes_module_takes_the_place_of_a_tier(code):
    services.restore_shipped()
    version = services.register("predict", code("calm", python_in(README)))
    assert f"modules swap predict {version.version} " in README.read_text()
    services.swap("predict", version.label, actor="ann")
    process.refresh_if_behind()
    found = process.resolve("predict").implementation.run(MODEL, np.zeros((4, 2, 90)))
    np.testing.assert_allclose(found, np.full((4, 2, 3), 1 / 3))


@pytest.mark.django_db
@pytest.mark.usefixtures("open_gate")
def test_the_worked_example_works(code):
    source = python_in(DOCS)
    services.restore_shipped()
    for text in (source, source.replace("1.3.0", "1.3.1")):
        row = services.register("predict", code("counting", text))
        assert row.dependencies == {"features": "^1.0.0"}
        services.swap("predict", row.label, actor="ann")
        process.refresh_if_behind()
        active = process.resolve("predict")
        assert active.version == row.label
        assert active.implementation.run(MODEL, np.zeros((4, 2, 90))).shape == (4, 2, 3)
    assert active.implementation.served == {"rows": 8}


def test_every_command_is_named_in_the_docs():
    text = DOCS.read_text()
    assert [name for name in TEXTS if name not in text] == []
