"""The feature flags that the tiers obey, as one value a cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

GLOBAL = (
    "auto_trading",
    "garch_volatility",
    "kelly_position_sizing",
    "llm_strategic_analysis",
    "llm_enhanced_decisions",
)
PER_SYMBOL = ("neural_network_v2", "advanced_risk_engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The feature flags of one cycle, read once at its start so that no cycle sees half of a change."""

    auto_trading: bool = False
    garch_volatility: bool = True
    kelly_position_sizing: bool = True
    llm_strategic_analysis: bool = True
    llm_enhanced_decisions: bool = True
    neural_network_v2: tuple[str, ...] = ()  # the symbols that the challenger model serves
    advanced_risk_engine: tuple[str, ...] = ()  # the symbols under the additional limits


class Ask(Protocol):
    """Whether a flag is on, for a symbol or for all."""

    def __call__(self, flag: str, *, symbol: str = "") -> bool: ...


def decide(ask: Ask, symbols: Sequence[str], overrides: Mapping[str, bool]) -> Switches:
    """The switches as `ask` answers. An override comes before it, and holds for every symbol."""
    values: dict[str, Any] = {name: overrides[name] if name in overrides else ask(name) for name in GLOBAL}
    for name in PER_SYMBOL:
        values[name] = tuple(
            symbol for symbol in symbols if (overrides[name] if name in overrides else ask(name, symbol=symbol))
        )
    return Switches(**values)


def to_json(switches: Switches) -> dict[str, Any]:
    """Switches as a JSON object."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(switches).items()}


def from_json(data: Mapping[str, Any]) -> Switches:
    """Switches from their JSON object."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Switches(**values)
