"""Which analyst speaks in tier 5: the language model behind its breaker, or the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

from loguru import logger

from helios.breakers import breaker
from helios.env import Env
from helios.errors import error_text
from tiers.contracts import MarketContext, StrategicView, Switches
from tiers.contracts.errors import HeliosError
from tiers.contracts.protocols import Connection, LlmTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The view with what it was formed on, and the name and reason of the fallback when one was used."""

    context: MarketContext
    view: StrategicView
    fallback: str = ""
    reason: str = ""


def ask(tier: LlmTier, context: MarketContext, switches: Switches, *, env: Env, history: bool) -> Reply:
    """What the module's language model says, or its rules.

    A language model may know what came after a bar of the past, so on `history` the rules speak.
    With `llm_strategic_analysis` off the input passes through. Without a key the rules speak, which is no
    fallback: the row names them. A model that fails or whose breaker is open is replaced by the rules.
    """
    if not switches.llm_strategic_analysis:
        off = StrategicView.neutral(context.bar_ts, provider="off", reasoning="llm_strategic_analysis is off")
        return Reply(context=context, view=off)
    if history or env.anthropic_api_key is None:
        return by_rules(tier, context)
    connection = Connection(
        api_key=env.anthropic_api_key.get_secret_value(),
        base_url=env.anthropic_base_url,
        model=env.llm_model,
        timeout_s=env.llm_timeout_s,
    )
    try:
        with breaker("llm_api"):
            return Reply(context=context, view=tier.ask_model(context, connection))
    except HeliosError as error:
        logger.bind(error=error_text(error)).warning("llm.fallback")
        return replace(by_rules(tier, context), fallback="rule_based_analyst", reason=error_text(error))


def by_rules(tier: LlmTier, context: MarketContext) -> Reply:
    """The view without a language model."""
    return Reply(context=context, view=tier.run(context))


def merged(own: Reply, other: Reply, _served: frozenset[str]) -> Reply:
    """The challenging rules' reply in place of the rules' own; a language model's reply, or none, stays."""
    return own if own.view.provider in {"anthropic", "off"} else replace(own, context=other.context, view=other.view)
