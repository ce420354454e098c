"""Code of challengers: one that does the same as its champion, one that buys, one that raises."""

from __future__ import annotations

SLOTS = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")
SAME = {slot: f"from tiers.{slot} import run\n" for slot in SLOTS}
BUYS = """
import numpy as np
from tiers.predict import run as base
def run(predictor, features):
    out = base(predictor, features)
    known = np.isfinite(out).all(axis=2)
    out[known] = (0.0, 0.1, 0.9)
    return out
"""
BROKEN = "def run(*args, **named):\n    raise RuntimeError('the new code is broken')\n"
