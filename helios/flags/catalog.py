"""The flags that ship with Helios: their defaults, and in plain words what each does when on and when off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from helios.flags.core.definition import FlagDefinition, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedFlag:
    """A flag of the catalogue. One that is not `wired` changes nothing yet: what it steers is to be built."""

    name: str
    enabled: bool
    on: str
    off: str
    wired: bool
    strategy: Strategy = Strategy.ALL_ON
    percentage: int = 0

    @property
    def description(self) -> str:
        """What both positions do."""
        return f"On: {self.on}. Off: {self.off}."

    @property
    def wiring(self) -> str:
        """Whether the flag acts already, as a sentence."""
        return "acts now" if self.wired else "not wired yet: changes nothing until the part it steers is built"

    def fields(self) -> dict[str, object]:
        """The columns of the flag before anybody changed it."""
        return {
            "enabled": self.enabled,
            "strategy": self.strategy,
            "percentage": self.percentage,
            "description": self.description,
        }

    def definition(self) -> FlagDefinition:
        """The flag as it is evaluated before anybody changed it."""
        return FlagDefinition(name=self.name, enabled=self.enabled, strategy=self.strategy, percentage=self.percentage)


SHIPPED: tuple[ShippedFlag, ...] = (
    ShippedFlag(
        name="auto_trading",
        enabled=False,
        on="orders that a cycle decides are sent",
        off="orders are decided and recorded, none is sent",
        wired=True,
    ),
    ShippedFlag(
        name="circuit_breakers",
        enabled=True,
        on="a failing service is cut off until it has recovered",
        off="breakers only measure, except on the order path, where they always act",
        wired=True,
    ),
    ShippedFlag(
        name="hot_reload_modules",
        enabled=True,
        on="a changed module is tested and swapped in by itself",
        off="a changed module waits for an explicit swap",
        wired=True,
    ),
    ShippedFlag(
        name="websocket_streaming",
        enabled=True,
        on="market data arrives by stream",
        off="market data is polled over REST",
        wired=True,
    ),
    ShippedFlag(
        name="websocket_v2",
        enabled=False,
        strategy=Strategy.PERCENTAGE,
        percentage=25,
        on="the second-generation stream client serves its percentage of the symbols",
        off="the first-generation stream client serves every symbol",
        wired=True,
    ),
    ShippedFlag(
        name="multi_timeframe_analysis",
        enabled=True,
        on="features of higher timeframes join those of the base timeframe",
        off="only features of the base timeframe are used, the rest is neutral",
        wired=False,
    ),
    ShippedFlag(
        name="neural_network_v2",
        enabled=False,
        strategy=Strategy.PERCENTAGE,
        on="the challenger model serves its percentage of the symbols",
        off="the champion model serves every symbol",
        wired=True,
    ),
    ShippedFlag(
        name="garch_volatility",
        enabled=True,
        on="volatility comes from GARCH(1,1)",
        off="volatility comes from an exponentially weighted average",
        wired=True,
    ),
    ShippedFlag(
        name="kelly_position_sizing",
        enabled=True,
        on="positions are sized by fractional Kelly",
        off="positions are a fixed fraction of equity",
        wired=True,
    ),
    ShippedFlag(
        name="advanced_risk_engine",
        enabled=False,
        strategy=Strategy.WHITELIST,
        on="portfolio CVaR and correlation limits hold for the listed symbols",
        off="only the basic limits hold",
        wired=True,
    ),
    ShippedFlag(
        name="llm_strategic_analysis",
        enabled=True,
        on="tier 4 asks the analyst for a view of the market",
        off="tier 4 passes its input through",
        wired=True,
    ),
    ShippedFlag(
        name="llm_enhanced_decisions",
        enabled=True,
        on="the analyst's view may change a decision",
        off="the analyst's view is recorded and changes nothing",
        wired=True,
    ),
    ShippedFlag(
        name="black_litterman",
        enabled=False,
        on="predictions enter the portfolio as Black-Litterman views",
        off="the portfolio is mean-variance with shrinkage",
        wired=False,
    ),
    ShippedFlag(
        name="portfolio_optimizer_v2",
        enabled=False,
        on="the portfolio comes from hierarchical risk parity or CVaR",
        off="the portfolio is mean-variance with shrinkage",
        wired=False,
    ),
    ShippedFlag(
        name="paper_trading_v2",
        enabled=False,
        strategy=Strategy.GRADUAL,
        percentage=10,
        on="paper orders of a growing share of the symbols fill against the order book",
        off="paper orders fill against bars",
        wired=False,
    ),
)
BY_NAME: Mapping[str, ShippedFlag] = MappingProxyType({flag.name: flag for flag in SHIPPED})


def defaults() -> dict[str, FlagDefinition]:
    """The catalogue as definitions: what serves when the database cannot be read at all."""
    return {flag.name: flag.definition() for flag in SHIPPED}
