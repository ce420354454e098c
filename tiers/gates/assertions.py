"""Comparisons that the suites share; each raises `GateFailure` with one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from helios.modules.suites import GateFailure, require
from tiers.contracts import FloatArray

TOLERANCE = 1e-9


def array(value: Any, what: str, shape: tuple[int, ...]) -> FloatArray:
    """`value`, which must be a float64 array of that shape."""
    require(isinstance(value, np.ndarray), f"{what} must be an array, was {type(value).__name__}")
    require(
        value.dtype == np.float64 and value.shape == shape,
        f"{what} must be float64 {shape}, was {value.dtype} {value.shape}",
    )
    return np.asarray(value)


def same(one: FloatArray, other: FloatArray, sentence: str, *, tolerance: float = TOLERANCE) -> None:
    """Equal up to rounding, with NaN in the same places; the sentence says what must hold."""
    gaps = np.isnan(one) != np.isnan(other)
    with np.errstate(invalid="ignore"):  # infinite beside infinite
        apart = np.abs(one - other) > tolerance * (1.0 + np.abs(one))
    differs = gaps | (apart & (one != other))
    if differs.any():
        place = tuple(int(i) for i in np.argwhere(differs)[0])
        was, now = one[place], other[place]
        raise GateFailure(
            f"{sentence}, but {int(differs.sum())} values differ, the first at {place}: {was:.6g} and {now:.6g}"
        )


def finite(value: FloatArray, what: str) -> None:
    """Every value is a finite number."""
    bad = np.argwhere(~np.isfinite(value))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise GateFailure(f"{what} must be finite, was {value[place]} at {place}")


def within(
    value: FloatArray, low: FloatArray | float, high: FloatArray | float, what: str, slack: float = 1e-9
) -> None:
    """Every value lies between its bounds, up to `slack`."""
    low, high = np.broadcast_to(low, value.shape), np.broadcast_to(high, value.shape)
    bad = np.argwhere(~((value >= low - slack) & (value <= high + slack)))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise GateFailure(
            f"{what} must be from {low[place]:.6g} to {high[place]:.6g}, was {value[place]:.6g} at {place}"
        )


def fields(value: Any, names: tuple[str, ...], what: str) -> None:
    """`value` carries every one of the names."""
    lacking = [name for name in names if not hasattr(value, name)]
    require(not lacking, f"{what} must carry {', '.join(names)}, {type(value).__name__} lacks {', '.join(lacking)}")
