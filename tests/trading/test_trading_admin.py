"""The trading pages of the admin: every list opens, books are moved by actions, and only by those who may."""

import re
from decimal import Decimal as D

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse

from helios.web.roles import Role
from tests.support.admin_people import Desk
from tests.support.ledger import append
from tests.trading.conftest import T
from trading.books.write import create_book
from trading.models import (
    Book,
    Instrument,
    MLPrediction,
    Order,
    PortfolioSnapshot,
    Position,
    StageRun,
    TradingModeChange,
)

pytestmark = pytest.mark.django_db
admin.autodiscover()  # as the addresses do
MODELS = [model for model in admin.site._registry if model._meta.app_label == "trading"]
BOOKS = "admin:trading_book_changelist"


@pytest.fixture
def world(book, cycle):
    """A row of each kind that a cycle leaves."""
    StageRun.objects.create(cycle=cycle, stage="ingest", worker="here:1", queue_ms=1.0, duration_ms=12.5)
    MLPrediction.objects.create(cycle=cycle, symbol="AAPL", timeframe="1d", bar_ts=T, signal="HOLD", horizon_bars=5)
    Order.objects.create(
        book=book,
        cycle=cycle,
        client_order_id="h1",
        symbol="AAPL",
        side="BUY",
        quantity=3,
        reference_price=100,
        bar_ts=T,
    )
    append(book.pk, cycle.pk, "ingest", {"bars": 2})
    return book


@pytest.fixture
def viewer(client, django_user_model):
    """Somebody who may look at books and change nothing."""
    person = django_user_model.objects.create_user("vera", password="only for this test", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="view_book"))
    client.force_login(person)
    return client


def act(client, action, book, reason=""):
    data = {"action": action, "_selected_action": [book.pk], "reason": reason}
    return client.post(reverse(BOOKS), data, follow=True)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_list_opens(admin_client, world, model):
    page = admin_client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
    assert page.status_code == 200


def test_amounts_of_a_book_are_in_its_currency(admin_client, world):
    Instrument.objects.update_or_create(symbol="AAPL", defaults={"asset_class": "equity"})
    Book.objects.filter(pk=world.pk).update(symbols=["AAPL"], cash=D("1234.5"))
    Book.objects.create(
        name="coins", mode="replay", timeframe="1d", symbols=["ETH-BTC"], fee_bps=5, slippage_bps=2,
        initial_cash=1, cash=D("0.0123456"), peak_equity=1,
    )  # fmt: skip
    page = admin_client.get(reverse(BOOKS)).content.decode()
    assert page.count("$1,234.50") == 2  # cash, and equity before the first snapshot
    assert page.count("0.0123 BTC") == 2


def test_lists_show_numbers_as_people_read_them(admin_client, world, cycle):
    Position.objects.filter(symbol="AAPL").update(
        quantity=D("3.000"), cost=D("51.27189418315"), realised_pnl=D("-35.59967849"),
    )  # fmt: skip
    PortfolioSnapshot.objects.create(
        book=world, cycle=cycle, bar_ts=T, equity=D("63156.01638"), cash=0, peak_equity=D(70_000),
        gross_exposure=0.4310049340252676, drawdown=0.021241188158714994,
    )  # fmt: skip

    def listed(name):
        page = admin_client.get(reverse(f"admin:trading_{name}_changelist")).content.decode()
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, flags=re.DOTALL)
        return {" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in cells}

    positions, snapshots = listed("position"), listed("portfoliosnapshot")
    assert {"3", "51.27", "17.09", "-35.60", "0", "0.00", "-", "Realised P&amp;L"} <= positions
    assert {"63,156.02", "43.1%", "2.1%", "Bar time"} <= snapshots


@pytest.mark.parametrize("model", [Book, Order], ids=lambda model: model.__name__)
def test_rows_are_read_and_never_edited_by_hand(admin_client, world, model):
    row = model.objects.get()
    names = f"admin:trading_{model._meta.model_name}"
    assert admin_client.get(reverse(f"{names}_change", args=[row.pk])).status_code == 200
    assert admin_client.get(reverse(f"{names}_add")).status_code == 403
    assert admin_client.post(reverse(f"{names}_delete", args=[row.pk])).status_code == 403


def test_the_amounts_of_a_book_are_written_as_its_list_writes_them(admin_client, world):
    Book.objects.update(initial_cash=100_000, cash=D("45045.11159942"), peak_equity=D("110206.69695874"))
    page = admin_client.get(reverse("admin:trading_book_change", args=[world.pk])).content.decode()
    assert all(shown in page for shown in ("$100,000.00", "$45,045.11", "$110,206.70"))
    assert "45045.11159942" not in page


def test_a_cycle_shows_its_stages(admin_client, world, cycle):
    page = admin_client.get(reverse("admin:trading_pipelinecycle_change", args=[cycle.pk])).content.decode()
    assert "12.5" in page
    assert "here:1" in page


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [("start_books", "active", True), ("halt_books", "state", "HALTED"), ("reduce_books", "state", "REDUCING")],
)
def test_an_action_moves_the_book_and_keeps_who_did_it(admin_client, admin_user, world, action, field, value):
    assert act(admin_client, action, world).status_code == 200
    world.refresh_from_db()
    assert getattr(world, field) == value
    assert TradingModeChange.objects.get().actor == admin_user.get_username()


def test_a_stopped_book_is_called_stopped_unless_more_is_to_say(admin_client, book):
    def shown():
        page = admin_client.get(reverse(BOOKS)).content.decode()
        return {word for word in ("ACTIVE", "STOPPED", "HALTED") if re.search(rf">\s*{word}\s*<", page)}

    assert shown() == {"STOPPED"}
    act(admin_client, "start_books", book)
    assert shown() == {"ACTIVE"}
    act(admin_client, "halt_books", book)
    act(admin_client, "stop_books", book)
    assert shown() == {"HALTED"}


def test_actions_can_be_undone(admin_client, world):
    for action in ("start_books", "halt_books", "resume_books", "stop_books"):
        act(admin_client, action, world, reason="calm")
    world.refresh_from_db()
    assert (world.active, world.state) == (False, "ACTIVE")
    assert set(TradingModeChange.objects.values_list("reason", flat=True)) == {"calm"}


def test_a_halt_needs_no_reason_and_its_end_does(admin_client, world):
    assert 'name="reason"' in admin_client.get(reverse(BOOKS)).content.decode()
    act(admin_client, "halt_books", world)
    page = act(admin_client, "resume_books", world).content.decode()
    assert "goes back from HALTED to ACTIVE for a reason only" in page
    world.refresh_from_db()
    assert world.state == "HALTED"


def test_reducing_many_books_at_once_leaves_halted_ones_halted_and_says_so(admin_client, world):
    other = create_book(
        "calm", mode="paper", timeframe="1d", symbols=["IBM"], initial_cash=1000, fee_bps=1, slippage_bps=0
    )
    act(admin_client, "halt_books", world)
    data = {"action": "reduce_books", "_selected_action": [world.pk, other.pk], "reason": "volatile"}
    page = admin_client.post(reverse(BOOKS), data, follow=True).content.decode()
    assert "is HALTED, which only a resume ends" in page
    assert "1 book(s) REDUCING." in page
    assert dict(Book.objects.values_list("name", "state")) == {"desk": "HALTED", "calm": "REDUCING"}


@pytest.mark.parametrize("action", ["start_books", "stop_books", "halt_books", "reduce_books", "resume_books"])
def test_who_may_only_look_is_offered_no_action(viewer, world, action):
    assert action not in viewer.get(reverse(BOOKS)).content.decode()
    act(viewer, action, world)
    world.refresh_from_db()
    assert (world.active, world.state) == (False, "ACTIVE")
    assert not TradingModeChange.objects.exists()


def test_a_books_page_halts_it_for_who_may(viewer, world):
    page = reverse("admin:trading_book_change", args=[world.pk])
    assert "halt_books" not in viewer.get(page).content.decode()
    shown = Desk(Role.OPERATOR.label).http.get(page).content.decode()
    assert shown.index('value="halt_books"') < shown.index("Equity") < shown.index("Initial cash")


def test_an_operator_stops_halts_and_reduces_and_starts_or_resumes_nothing(world):
    operator = Desk(Role.OPERATOR.label).http
    offered = operator.get(reverse(BOOKS)).content.decode()
    assert [name for name in ("start", "stop", "halt", "reduce", "resume") if f'value="{name}_books"' in offered] == [
        "stop",
        "halt",
        "reduce",
    ]
    act(operator, "start_books", world)
    act(operator, "halt_books", world)
    act(operator, "resume_books", world, reason="calm")
    world.refresh_from_db()
    assert (world.active, world.state) == (False, "HALTED")


def test_a_reason_that_the_api_would_refuse_moves_no_book(admin_client, world):
    for reason, told in (("a" * 201, "no more than 200 characters"), ("a\0b", "one line without control characters")):
        page = act(admin_client, "halt_books", world, reason)
        assert told in page.content.decode()
    assert not TradingModeChange.objects.exists()
    act(admin_client, "halt_books", world, "a" * 200)
    assert TradingModeChange.objects.get().after == "HALTED"
