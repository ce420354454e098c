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


@pytest.mark.django_db
@pytest.mark.usefixtures("open_gate")
def test_the_worked_example_works(code):
    (source,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    services.restore_shipped()
    model = SimpleNamespace(probabilities=lambda features: np.full((*features.shape[:2], 3), 1 / 3))
    for text in (source, source.replace("1.3.0", "1.3.1")):
        row = services.register("predict", code("counting", text))
        assert row.dependencies == {"features": "^1.0.0"}
        services.swap("predict", row.label, actor="ann")
        process.refresh_if_behind()
        active = process.resolve("predict")
        assert active.version == row.label
        assert active.implementation.run(model, np.zeros((4, 2, 90))).shape == (4, 2, 3)
    assert active.implementation.served == {"rows": 8}


def test_every_command_is_named_in_the_docs():
    text = DOCS.read_text()
    assert [name for name in TEXTS if name not in text] == []
