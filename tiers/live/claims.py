"""A cycle that is due at a stage, with all that the stage reads about it, in one query.

The rows come as if they had been prefetched: `cycle.predictions.all()`, `cycle.risk_decision` and
`cycle.book.positions.all()` ask nothing more. The snapshot that shows a cycle at a stage shows what the stages before
wrote, since they commit their output together with the move.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from django.db.models import Model
from django.db.models.functions import Now

from helios.control import generations
from helios.control.generations import Generation
from helios.db import locks, statements
from trading.books.ledger import Head
from trading.models import Book, Instrument, MLModel, MLPrediction, PipelineCycle, Stage

READS: dict[Stage, tuple[str, ...]] = {  # relations of a cycle, and of its book
    Stage.INGEST: (),
    Stage.FEATURES: (),
    Stage.PREDICT: ("stage_runs",),
    Stage.RISK: ("book.positions", "predictions"),
    Stage.LLM: ("book.positions", "predictions"),
    Stage.PORTFOLIO: ("book.positions", "predictions", "risk_decision", "volatilities", "strategic_decision"),
    Stage.EXECUTE: ("book.positions", "risk_decision", "volatilities", "rebalancing"),
    Stage.DONE: ("orders", "superseded"),
}
CYCLES = "helios.cycles"  # the space of the locks of those who run a stage that waits


@dataclass(slots=True, kw_only=True)
class Claim:
    """A due cycle with its book, the book's instruments and end of its ledger, and the control plane's generations.

    `unlock` gives back the session lock of an `owned` one, where its last statement does so. Whoever comes before that
    is committed finds nothing to do, or repeats a call whose answer is dropped.
    """

    cycle: PipelineCycle
    head: Head
    instruments: Sequence[Instrument] = ()
    generations: Mapping[str, Generation] = field(default_factory=dict)
    unlock: statements.Part | None = None


def locked(cycle_id: int, stage: Stage) -> Claim | None:
    """The cycle with its row locked until the transaction ends; None where it is not due."""
    row = _row(cycle_id, stage, "true", "FOR UPDATE OF c")
    return None if row is None else _claim(stage, row)


@contextmanager
def owned(cycle_id: int, stage: Stage) -> Iterator[Claim | None]:
    """The cycle under a session lock; None where it is not due or a worker is at it.

    The lock dies with its process, so that an owner that was killed never blocks the next one.
    """
    with locks.surely():
        row = _row(cycle_id, stage, locks.claim(CYCLES, "c.id"), "")
    if row is None or not row[0]:
        yield None
        return
    claim: Claim | None = None
    try:
        claim = _claim(stage, row)
        claim.unlock = locks.unclaim(CYCLES, "%s"), (cycle_id,)
        yield claim
    finally:
        if claim is None or claim.unlock is not None:
            locks.give_back(CYCLES, cycle_id)


def still_due(cycle: PipelineCycle) -> bool:
    """Whether a cycle is where it was when it was read; its row stays locked until the transaction ends."""
    same = "t.id = %s AND t.status = %s AND t.stage = %s FOR UPDATE"
    return bool(statements.select(PipelineCycle, same, [cycle.pk, cycle.status, cycle.stage]))


def count_try(claim: Claim) -> None:
    """Count a try of a stage whose chain was sent again, before it begins: it may end this process.

    Only where challengers take part, which are asked no more in the end; a message that nobody took is no try.
    """
    cycle = claim.cycle
    if cycle.redriven and cycle.rollouts:
        cycle.tries += 1
        PipelineCycle.objects.filter(pk=cycle.pk, status=PipelineCycle.Status.RUNNING).update(tries=cycle.tries)


def asked(cycle_id: int, stage: Stage) -> None:
    """Note that a stage was tried and asks for another try; the first time counts."""
    due = PipelineCycle.objects.filter(pk=cycle_id, stage=stage, status=PipelineCycle.Status.RUNNING)
    due.filter(asked_at=None).update(asked_at=Now())


def _row(cycle_id: int, stage: Stage, lock: str, suffix: str) -> tuple[Any, ...] | None:
    return next(iter(statements.fetch(f"SELECT {lock}, {_query(stage)} {suffix}", [cycle_id, stage.value])), None)


@lru_cache(maxsize=len(Stage))
def _query(stage: Stage) -> str:
    parts = [
        statements.columns(PipelineCycle, "c"),
        statements.columns(Book, "b"),
        "last.sequence, last.hash",
        generations.AS_JSON,
        statements.aggregated(Instrument, "t.symbol = ANY(b.symbols)"),
        *(statements.aggregated(model, where) for model, where in map(_relation, READS[stage])),
    ]
    if "predictions" in READS[stage]:
        parts.append(_MODELS)
    return f"""
        {", ".join(parts)}
        FROM pipeline_cycles c JOIN portfolio_state b ON b.id = c.book_id
        LEFT JOIN LATERAL (
            SELECT sequence, hash FROM decision_ledger WHERE book_id = b.id ORDER BY sequence DESC LIMIT 1
        ) last ON true
        WHERE c.id = %s AND c.status = 'RUNNING' AND c.stage = %s
    """  # noqa: S608 - no input


_MODELS = """(
    SELECT json_object_agg(id, name)::text FROM ml_models
    WHERE id IN (SELECT model_id FROM ml_predictions WHERE cycle_id = c.id)
)"""


def _relation(name: str) -> tuple[type[Model], str]:
    """The model behind a name of `READS`, and which of its rows belong to the cycle `c` of the book `b`."""
    owner, alias = (Book, "b") if name.startswith("book.") else (PipelineCycle, "c")
    relation: Any = owner._meta.get_field(name.removeprefix("book."))
    return relation.related_model, f"t.{relation.field.column} = {alias}.id"


def _claim(stage: Stage, row: tuple[Any, ...]) -> Claim:
    n_cycle = 1 + len(PipelineCycle._meta.concrete_fields)
    n_book = n_cycle + len(Book._meta.concrete_fields)
    cycle = statements.instance(PipelineCycle, row[1:n_cycle])
    cycle.book = statements.instance(Book, row[n_cycle:n_book])
    sequence, last, counted, described, *related = row[n_book:]
    for name, text in zip(READS[stage], related, strict=False):
        _attach(cycle, name, statements.instances(_relation(name)[0], text))
    if "predictions" in READS[stage]:
        _name_models(cycle, json.loads(related[-1] or "{}"))
    return Claim(
        cycle=cycle,
        head=Head.of(sequence, last),
        instruments=_instruments(described),
        generations=generations.of_json(counted),
    )


@lru_cache(maxsize=32)
def _instruments(text: str | None) -> Sequence[Instrument]:
    """Made once for each state in which they come; nobody changes one."""
    return statements.instances(Instrument, text)


def _attach(cycle: PipelineCycle, name: str, rows: list[Model]) -> None:
    owner: Any = cycle.book if name.startswith("book.") else cycle
    name = name.removeprefix("book.")
    relation: Any = owner._meta.get_field(name)
    for row in rows:
        setattr(row, relation.field.name, owner)
    if relation.one_to_one:
        relation.set_cached_value(owner, rows[0] if rows else None)
        return
    found = getattr(owner, name).get_queryset()
    found._result_cache = rows
    owner.__dict__.setdefault("_prefetched_objects_cache", {})[name] = found


def _name_models(cycle: PipelineCycle, names: dict[str, str]) -> None:
    """Give each prediction its model, of which only the name is known."""
    for prediction in cast("list[MLPrediction]", cycle.predictions.all()):
        if prediction.model_id is not None:
            prediction.model = MLModel.from_db(
                "default", ["id", "name"], [prediction.model_id, names[str(prediction.model_id)]]
            )
