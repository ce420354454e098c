"""Tests that take minutes, and repeat what `make test` shows once: `make soak` runs them, `make test` and CI do not."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIMIT_S = 3_600  # the soak's own conditions give up long before


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.soak)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIMIT_S))
