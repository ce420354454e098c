"""Measures of arms for tests: a healthy one, and what may be wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from helios.rollouts.core.measures import ArmMeasures


def arm(n: int = 100, *, pnl: float = 0.0, loss: float = 1.0, latency: float = 10.0, seed: int = 0, **other: Any):
    """An arm of `n` decisions around the given means."""
    rng = np.random.default_rng(seed)
    healthy = {
        "n_decisions": n,
        "latency_ms": tuple((latency * rng.uniform(0.8, 1.2, n)).tolist()),
        "pnl_bps": tuple(rng.normal(pnl, 10.0, n).tolist()),
        "losses": tuple((loss * rng.gamma(4.0, 0.25, n)).tolist()),
    }
    return ArmMeasures(**{**healthy, **other})


def reading(challenger: ArmMeasures | None = None, champion: ArmMeasures | None = None) -> dict[str, ArmMeasures]:
    """Both arms, healthy unless given."""
    return {"champion": champion or arm(seed=1), "challenger": challenger or arm(seed=2)}
