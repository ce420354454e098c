"""What a book's feed may be, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from helios.errors import DataError
from tests.support.market_bars import at
from tests.trading.market.test_instruments import book_of
from trading.enums import FeedKind
from trading.market import instruments
from trading.market.feeds import read as feeds
from trading.models import Book, Feed

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("text", "feed"),
    [
        ("table", Feed(FeedKind.TABLE)),
        ("sample", Feed(FeedKind.SAMPLE)),
        ("file:a:b.csv", Feed(FeedKind.FILE, "a:b.csv")),
    ],
)
def test_a_feed_is_a_kind_with_its_settings_and_the_same_text_again(text: str, feed: Feed) -> None:
    assert Feed.parse(text) == feed
    assert str(feed) == text


@pytest.mark.parametrize("text", ["", "nowhere", "Table", "table:", "sample:x", "file", "file:", "files:x", " table"])
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(DataError, match=r"^a book's source must be table, sample or file:PATH, was '"):
        Feed.parse(text)
    with pytest.raises(DataError, match="source must be"):
        Book(feed=text)


def test_a_book_comes_back_with_the_feed_that_it_was_given() -> None:
    instruments.ensure_instrument("AAPL", "equity")
    assert book_of(["AAPL"]).feed == Feed(FeedKind.TABLE)
    Book.objects.update(feed="file:x.csv")
    book = Book.objects.get()
    assert book.feed == Feed(FeedKind.FILE, "x.csv")
    book.feed = Feed(FeedKind.SAMPLE)
    book.save()
    assert Book.objects.filter(feed="sample").get().feed.kind is FeedKind.SAMPLE
    with pytest.raises(IntegrityError, match="portfolio_state_feed"), transaction.atomic():
        connection.cursor().execute("UPDATE portfolio_state SET feed = 'nowhere'")


def test_the_bars_of_a_file_are_named_by_the_calendar_of_their_instrument(tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    days = "".join(f"2024-01-{day:02d},1,1,1,1,1\n" for day in (8, 10, 12))
    path.write_text(f"date,open,high,low,close,volume\n{days}")
    for symbol, kind, close in (("AAPL", "equity", "2024-01-10T21:00"), ("BTC/USD", "crypto", "2024-01-11T00:00")):
        instruments.ensure_instrument(symbol, kind)
        (table,) = feeds.rows(Book(symbols=[symbol], timeframe="1d", feed=f"file:{path}"), at(close), at(close))
        assert [str(ts)[:16] for ts in table.ts] == [close]


def test_the_sample_has_the_bars_of_each_symbol_in_a_span() -> None:
    book = Book(symbols=["IBM", "AAPL"], timeframe="1d", feed="sample")
    found = feeds.rows(book, at("2010-01-04T21:00"), at("2010-01-06T00:00"))
    assert [(table.symbol, table.n_rows) for table in found] == [("IBM", 2), ("AAPL", 2)]


def test_a_file_must_exist_and_holds_the_bars_of_one_symbol(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a book's source must be a file that exists, was 'file:gone.csv'"):
        feeds.check(Book(symbols=["A"], feed="file:gone.csv"))
    (tmp_path / "there.csv").touch()
    feeds.check(Book(symbols=["A"], feed=f"file:{tmp_path}/there.csv"))
    with pytest.raises(DataError, match="a book whose source is a file must have one symbol, had A, B"):
        feeds.check(Book(symbols=["A", "B"], feed=f"file:{tmp_path}/there.csv"))
