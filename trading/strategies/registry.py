"""The strategies by name, and how one with its parameters is made and called. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, cast

from helios.errors import Rejected
from helios.redaction import shortened
from trading.strategies.base import Strategy
from trading.strategies.buy_and_hold import BuyAndHold
from trading.strategies.sma_cross import SmaCross

TIERS = "helios"  # the label of the seven tiers themselves
STRATEGIES: dict[str, Callable[..., Strategy]] = {"buy_and_hold": BuyAndHold, "sma_cross": SmaCross}


def make(name: str, params: Mapping[str, Any]) -> Strategy:
    """The strategy of this name. `Rejected` names an unknown strategy, or a parameter that it does not take."""
    kind = STRATEGIES.get(name)
    if kind is None:
        raise Rejected(f"a strategy must be one of {', '.join(STRATEGIES)}, was {name!r}")
    known = {f.name for f in fields(cast("Any", kind))} - {"name", "warmup_bars"}
    for key, value in params.items():
        if key not in known:
            raise Rejected(f"{name} takes {', '.join(sorted(known)) or 'no parameters'}, was given {shortened(key)!r}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise Rejected(f"{key} of {name} must be a whole number, was {shortened(repr(value))}")
    return kind(**params)


def label(name: str, params: Mapping[str, Any]) -> str:
    """How a strategy with its parameters is called in a rollout: `sma_cross(fast=20, slow=50)`. Raises: as `make`."""
    if name == TIERS:
        if params:
            raise Rejected(f"{TIERS} takes no parameters, was given {shortened(next(iter(params)))!r}")
        return TIERS
    values = make(name, params).params
    return f"{name}({', '.join(f'{key}={value:g}' for key, value in values.items())})" if values else name
