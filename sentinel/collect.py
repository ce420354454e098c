"""Takes the snapshot that the audits judge. Whatever is away becomes part of the picture."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import partial

from django.utils import timezone

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import QUEUES
from sentinel.probes import books, platform
from sentinel.probes.bounded import Runner


def collect(*, now: datetime | None = None, serving: Collection[str] = ()) -> Snapshot:
    """Ask every probe once. `serving` names queues that are known to be served: the caller's own.

    Takes about half a second with all workers up (they are given that long to answer), and three without.
    """
    taken_at = now or timezone.now()
    runner = Runner()
    ask = runner.ask
    ask("database", platform.database, None)
    away = "" if runner.readings["database"].ok else "the database does not answer"
    pending: tuple[str, ...] = ask("migrations", platform.migrations, (), skip=away)
    ask("broker", platform.broker, None)
    broker_away = "" if runner.readings["broker"].ok else "the broker does not answer"
    wanted = [queue for queue in QUEUES if queue not in serving]
    consumers: dict[str, int] = ask("workers", partial(platform.workers, wanted), {}, skip=broker_away)
    skip = away or ("the migrations are not applied" if pending else "")
    snapshot = Snapshot(
        taken_at=taken_at,
        readings=runner.readings,
        pending_migrations=pending,
        consumers={**consumers, **dict.fromkeys(serving, 1)},
        beat_at=ask("beat", platform.beat, None, skip=skip),
        breakers=ask("breakers", platform.breakers, (), skip=skip or broker_away),
        disks=ask("disk", platform.disk, ()),
        tokens=ask("tokens", platform.tokens, (), skip=skip),
        llm_model=ask("language_model", platform.language_model, ""),
        series=ask("stale_data", partial(books.series, taken_at), (), skip=skip),
        cycles=ask("cycles", books.cycles, (), skip=skip),
        orders=ask("orders", books.orders, (), skip=skip),
        cash=ask("cash", books.cash, (), skip=skip),
        positions=ask("positions", books.positions, (), skip=skip),
        chains=ask("ledger", books.ledger, (), skip=skip),
        live_trading=ask("live", books.live_trading, default=False, skip=skip),
    )
    runner.readings["gaps"] = replace(runner.readings["stale_data"], duration_ms=0.0)
    runner.readings["outbox"] = replace(runner.readings["orders"], duration_ms=0.0)
    return snapshot
