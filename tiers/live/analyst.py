"""Which analyst speaks in tier 5: the language model behind its breaker, or the rules."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger

from helios.breakers import breaker
from helios.env import Env
from tiers.contracts import MarketContext, StrategicView, Switches
from tiers.contracts.errors import HeliosError
from tiers.llm import reply

Rules = Callable[[MarketContext], StrategicView]
Reply = tuple[StrategicView, str, str]  # the view, and the name and reason of the fallback


def ask(context: MarketContext, switches: Switches, *, env: Env, rules: Rules, history: bool) -> Reply:
    """The view, and the name and reason of the fallback when one was used.

    A language model may know what came after a bar of the past, so on `history` the rules speak.
    With `llm_strategic_analysis` off the input passes through. Without a key the rules speak, which is no
    fallback: the row names them. A model that fails or whose breaker is open is replaced by the rules.
    """
    if not switches.llm_strategic_analysis:
        off = reply.neutral(context.bar_ts, provider="off", reasoning="llm_strategic_analysis is off")
        return off, "", ""
    if history or env.anthropic_api_key is None:
        return rules(context), "", ""
    from tiers.llm import claude  # noqa: PLC0415 - three seconds of imports, for books that ask a language model

    try:
        client = claude.client(env.anthropic_api_key.get_secret_value(), env.anthropic_base_url)
        with breaker("llm_api"):
            view = claude.analyse(
                client, context, model=env.llm_model, timeout_s=env.llm_timeout_s, clock=time.monotonic
            )
    except HeliosError as error:
        logger.bind(error=str(error)).warning("llm.fallback")
        return rules(context), "rule_based_analyst", str(error)
    return view, "", ""


def merged(own: Reply, other: Reply, _served: frozenset[str]) -> Reply:
    """The challenging rules' reply in place of the rules' own; a language model's reply, or none, stays."""
    return own if own[0].provider in {"anthropic", "off"} else (other[0], *own[1:])
