"""What a cycle asks of the database: counted, for a count does not depend on the machine's load."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.tiers.challenge.conftest import FIRST, _own_process, bars, book, desk, times  # noqa: F401 - fixtures
from tests.tiers.challenge.conftest import run as run_cycle
from tiers.live import chain, stages
from trading.models import Order, Stage, TradeExecution

pytestmark = pytest.mark.django_db(transaction=True)  # as in a worker: no savepoint of the test
BUDGET, AN_ORDER = 47, 3  # BEGIN and COMMIT included


def counted(work, *args, **named):
    with CaptureQueriesContext(connection) as queries:
        work(*args, **named)
    return len(queries)


def test_a_cycle_stays_within_its_round_trips(book, times):  # noqa: F811
    n_sent = 0
    for ts in times[FIRST : FIRST + 5]:
        total = counted(run_cycle, book, ts)
        sent = Order.objects.filter(bar_ts=ts).count()
        if ts > times[FIRST]:  # the first one reads what the others keep
            assert total - AN_ORDER * sent - bool(sent) <= BUDGET  # one more asks how the orders went
            n_sent += sent
    assert n_sent
    assert TradeExecution.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        ends = [sql for (sql,) in cursor.fetchall() if "UPDATE pipeline_cycles SET" in sql]
    assert ends
    # Whoever listens in a transaction fills the queue of notifications, and would keep a cycle's end from committing.
    assert not [sql for sql in ends if "notify" in sql]


def test_settling_and_marking_ask_as_often_for_three_symbols_as_for_one(desk, times):  # noqa: F811
    counts = []
    for name, symbols in (("one", ["AAPL"]), ("three", ["AAPL", "IBM", "MSFT"])):
        made = desk(name)
        made.symbols = symbols
        made.save()
        made.positions.exclude(symbol__in=symbols).delete()
        run_cycle(made, times[FIRST])
        assert made.orders.count() >= len(symbols) - 1
        cycle = chain.start(made, times[FIRST + 1], send=False)
        counts.append(counted(stages.run_stage, cycle.pk, Stage.INGEST))
        assert made.executions.exists()
    assert counts[0] == counts[1]
