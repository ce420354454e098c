"""Feature flags -> `Switches`: read once at the start of a cycle, and kept in its row."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from helios import flags
from helios.flags import FlagContext
from tiers.contracts import Switches
from trading.models import Book

GLOBAL = (
    "auto_trading",
    "garch_volatility",
    "kelly_position_sizing",
    "llm_strategic_analysis",
    "llm_enhanced_decisions",
)
PER_SYMBOL = ("neural_network_v2", "advanced_risk_engine")


def read(book: Book) -> Switches:
    """The flags as this book sees them now; its own overrides come first."""
    return read_for(book.symbols, strategy=book.name, overrides=book.flag_overrides)


def read_for(symbols: list[str], *, strategy: str, overrides: dict[str, bool] | None = None) -> Switches:
    """The flags for a set of symbols. An override holds for every symbol."""
    overrides = overrides or {}
    values: dict[str, Any] = {
        name: overrides.get(name, flags.is_enabled(name, FlagContext(strategy=strategy))) for name in GLOBAL
    }
    for name in PER_SYMBOL:
        chosen = (
            (symbol for symbol in symbols if overrides[name])
            if name in overrides
            else (s for s in symbols if flags.is_enabled(name, FlagContext(symbol=s, strategy=strategy)))
        )
        values[name] = tuple(chosen)
    return Switches(**values)


def to_json(switches: Switches) -> dict[str, Any]:
    """Switches as a JSON object."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(switches).items()}


def from_json(data: dict[str, Any]) -> Switches:
    """Switches from their JSON object."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Switches(**values)
