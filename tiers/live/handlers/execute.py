"""Tier 7 on live data: the intents of this bar, written to the outbox."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from loguru import logger

from tiers.challenge import arms, merge_orders, record
from tiers.challenge.arms import Answer
from tiers.contracts import shortest
from tiers.contracts.plans import Plan
from tiers.live import lookback, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.market import instruments
from trading.models import Book, Stage
from trading.orders import outbox


def run(ctx: StageContext) -> StageResult:
    """Write orders and cancels to the outbox, and the book's snapshot; they are sent once this is committed."""
    book = ctx.book  # not locked: a halt need not wait for the tier, the sender obeys it
    bars = shortest(lookback.close_window(ctx.cycle, ctx.params))
    decision, targets = store.load_risk(ctx.cycle), store.load_targets(ctx.cycle)
    view = replace(store.book_view(book, bars, ctx.bar_ts), state=decision.state)
    superseded = outbox.supersede(ctx.cycle, standing=view.standing(view.state))
    inputs: dict[str, Any] = {
        "targets": targets,
        "book": view,
        "lots": instruments.lots(ctx.instruments),
        "params": ctx.params.execute,
        "key": order_key(book),
    }
    answer: Answer[Plan] = arms.ask(
        ctx.cycle,
        Stage.EXECUTE,
        lambda tier: tier.run(**inputs),
        values=partial(record.of_plan, book=view),
        merge=partial(merge_orders.plans, **inputs),
    )
    plan = answer.merged
    record.record(ctx.cycle, answer)
    withhold = "" if ctx.switches.auto_trading else "auto_trading is off"
    orders = outbox.orders_of(ctx.cycle, plan.intents, withhold=withhold)
    logger.bind(orders=len(plan.intents), withheld=withhold, equity=str(view.equity)).info("cycle.decided")
    return StageResult(
        summary={
            "equity": view.equity,
            "orders": [[i.client_order_id, i.side.value, i.symbol, i.quantity] for i in plan.intents],
            "withheld": withhold,
            "superseded": superseded,
            "denials": store.denials_json(plan.denials),
            **of_arms(answer),
        },
        rows=[*orders, store.snapshot_row(ctx.cycle, view)],
    )


def order_key(book: Book) -> str:
    """What makes the order ids of one book differ from those of any other."""
    return f"book:{book.pk}"
