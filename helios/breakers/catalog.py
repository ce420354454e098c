"""The breakers that ship with Helios, and what each of them guards."""

from __future__ import annotations

from dataclasses import dataclass

from helios.breakers.core.config import Config, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one breaker behaves, wherever it was configured."""

    config: Config
    order_path: bool = False
    mode: Mode = Mode.NORMAL
    description: str = ""
    read: bool = True  # False: as shipped, since nobody could look yet whether a person has changed them


def _shipped(failures: int, open_s: float, description: str, *, order_path: bool = False) -> Settings:
    """Opens when half of the last calls failed, and at the earliest at `failures` of them."""
    config = Config(
        failure_threshold=failures,
        minimum_calls=failures,
        window_calls=2 * failures,
        open_s=open_s,
        permit_s=open_s,
    )
    return Settings(config=config, order_path=order_path, description=description)


SHIPPED: dict[str, Settings] = {
    "valr_api": _shipped(5, 60, "Requests to the VALR exchange, orders among them", order_path=True),
    "alpaca_api": _shipped(5, 60, "Requests to the Alpaca broker, orders among them", order_path=True),
    "ccxt_api": _shipped(5, 60, "Requests for market data to exchanges through ccxt"),
    "postgres_db": _shipped(10, 30, "Queries that the pipeline can do without for a while"),
    "redis_cache": _shipped(10, 30, "Cached values and announcements in Redis"),
    "neural_network": _shipped(3, 120, "Inference of the prediction model; the fallback is a neutral forecast"),
    "llm_api": _shipped(5, 60, "The strategic analyst's language model; the fallback is the rule-based analyst"),
}
