"""What a worker's process does before its first task, so that the first cycle is not the slow one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from loguru import logger

from helios.modules import registry as modules
from tiers import inference
from tiers.config import VolatilityParams
from tiers.contracts import FloatArray
from tiers.llm import context as market_context
from tiers.portfolio import covariance, optimise
from tiers.risk import volatility
from trading.models import Stage

SEED, N_BARS = 1, 300


def gpu() -> None:
    """Load every model in charge and run each once. One thread: a live cycle has few rows, and cores are shared."""
    from tiers.predict import network  # noqa: PLC0415 - torch loads only where models run

    network.prepare_process(threads=1)
    active_modules([Stage.PREDICT])
    inference.warm()


def active_modules(stages: Iterable[Stage]) -> list[str]:
    """Run the module in use of each stage once on a small market; returns what went wrong, a sentence each.

    Modules are loaded as copies of their own, and so is what numba has compiled of them.
    """
    from tiers.gates.calls import CALLS  # noqa: PLC0415 - only here and in the gate

    failed = []
    for stage in stages:
        try:
            call = CALLS[stage.value](SEED)
            modules.resolve(stage.value).implementation.run(*call.args, **call.kwargs)
        except Exception as error:  # noqa: BLE001 - a process that could not be warmed works all the same, only later
            failed.append(f"{stage.value}: {type(error).__name__}: {error}")
            logger.bind(stage=stage.value, error=str(error)).warning("module.not_warmed")
    return failed


def cpu() -> None:
    """Import what is slow to import, and compile or load what numba compiles."""
    active_modules(stage for stage in Stage if stage not in (Stage.PREDICT, Stage.DONE))
    close = _walk()
    days = np.arange(N_BARS).astype("datetime64[D]").astype("datetime64[us]")
    volatility.volatility(days, close, params=VolatilityParams(window_bars=N_BARS), garch=True, first_row=N_BARS - 1)
    market_context.statistics(close)
    returns = np.diff(close[-121:], axis=0) / close[-121:-1]
    correlation, _ = covariance.shrunk_correlation(returns, 60)
    zeros, ones = np.zeros(2), np.ones(2)
    optimise.solve(
        mu=zeros,
        sigma=returns.std(axis=0),
        correlation=correlation,
        previous=zeros,
        low=zeros,
        high=ones,
        budget=1.0,
        risk_aversion=4.0,
        cost=0.0,
    )


def _walk() -> FloatArray:
    rng = np.random.default_rng(SEED)
    path: FloatArray = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (N_BARS, 2)), axis=0))
    return path
