"""Writes of corporate actions, with corrections counted and told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from django.db import transaction
from django.db.models import Min

from helios.events import record
from trading.enums import ActionKind
from trading.market.actions import Action
from trading.market.write import UpsertResult, lock_symbols
from trading.models import CorporateAction, EngineeredFeatures, Instrument


def store(symbol: str, actions: Sequence[Action], source: str, *, replaced: bool = False) -> UpsertResult:
    """Store the actions of one instrument, all or nothing: new ones are inserted, differing ones corrected.

    `replaced` removes those of before first. A correction raises `revision`, and is told with what it replaced in an
    event `market.actions`. Features of bars behind the first change are forgotten, and made again when they are needed.
    """
    with transaction.atomic():
        lock_symbols([symbol])
        stored = {(row.ex_ts, row.kind): row for row in CorporateAction.objects.filter(symbol=symbol)}
        wanted = {(each.ex_ts, each.kind.value): each for each in actions}
        gone = [row for key, row in stored.items() if replaced and key not in wanted]
        new = [_row(each, source) for key, each in wanted.items() if key not in stored]
        differing = [
            (row, each)
            for key, each in wanted.items()
            if (row := stored.get(key)) is not None and (row.value, row.per) != (each.value, each.per)
        ]
        changed = [*(row.ex_ts for row in (*gone, *new)), *(row.ex_ts for row, _ in differing)]
        if changed:
            _tell(symbol, source, gone, differing)
            CorporateAction.objects.filter(pk__in=[row.pk for row in gone]).delete()
            CorporateAction.objects.bulk_create(new)
            for row, each in differing:
                row.value, row.per, row.source, row.revision = each.value, each.per, source, row.revision + 1
                row.save()
            _follow(symbol, min(changed))
    n_same = len(wanted) - len(new) - len(differing)
    return UpsertResult(inserted=len(new), corrected=len(differing), unchanged=n_same)


def _row(action: Action, source: str) -> CorporateAction:
    return CorporateAction(
        symbol=action.symbol,
        ex_ts=action.ex_ts,
        kind=action.kind.value,
        value=action.value,
        per=action.per,
        source=source,
    )


def _follow(symbol: str, since: datetime) -> None:
    """What hangs on the actions of a symbol: where they begin, and the features of bars behind the change."""
    first = CorporateAction.objects.filter(symbol=symbol).aggregate(first=Min("ex_ts"))["first"]
    Instrument.objects.filter(symbol=symbol).update(actions_from=first, bars_token=uuid4())
    EngineeredFeatures.objects.filter(symbol=symbol, bar_ts__gt=since).delete()


def _tell(
    symbol: str, source: str, gone: Sequence[CorporateAction], differing: Sequence[tuple[CorporateAction, Action]]
) -> None:
    if gone or differing:
        record(
            kind="market.actions",
            source=source,
            subject=symbol,
            data={
                "removed": [_words(row) for row in gone],
                "corrected": [[_words(row), str(each)] for row, each in differing],
            },
        )


def _words(row: CorporateAction) -> str:
    kind = ActionKind(row.kind)
    return str(Action(symbol=row.symbol, ex_ts=row.ex_ts, kind=kind, value=row.value, per=row.per))
