"""The fixtures of a desk."""

from __future__ import annotations

from tests.pipeline.conftest import desk, modules_dir, trained

__all__ = ["desk", "modules_dir", "trained"]
