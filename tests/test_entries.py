"""What a person lists: trimmed around, refused where something inside cannot be seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios import entries

AROUND = [" ", "\t", "\n", "\r\n", "\u00a0", "\u200b", "\ufeff", "\u2003", " \u200d\n"]
INSIDE = ["\n", "\t", "\r", "\u00a0", "\u200b", "\u2028", "\x00", "\x1b", "\ufeff"]


@pytest.mark.parametrize("blank", AROUND)
def test_what_stands_around_an_entry_is_left_out(blank: str) -> None:
    assert entries.entry(f"{blank}MSFT{blank}") == "MSFT"


@pytest.mark.parametrize("unseen", INSIDE)
def test_what_cannot_be_seen_inside_is_refused_and_shown_by_its_number(unseen: str) -> None:
    with pytest.raises(ValueError, match=r"^must be one line of visible letters, was 'MS\\[xunrt0-9a-f]+FT'$"):
        entries.entry(f"MS{unseen}FT")


@pytest.mark.parametrize("text", AROUND)
def test_an_entry_that_is_blank_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must not be blank, was"):
        entries.entry(text)


def test_a_comma_and_an_empty_text_are_no_entry() -> None:
    with pytest.raises(ValueError, match="must be one entry without a comma, was 'AAPL,MSFT'"):
        entries.entry("AAPL,MSFT")
    with pytest.raises(ValueError, match="must not be empty"):
        entries.entry("")


def test_single_blanks_inside_and_any_script_are_letters() -> None:
    assert entries.entry(" Ada Lövelace 東京 ") == "Ada Lövelace 東京"
    assert entries.line("Doe, John ") == "Doe, John"
    assert entries.line("") == ""


def test_a_typed_list_is_split_at_its_commas() -> None:
    assert entries.split(" AAPL, MSFT,,\tBTC/USD\n,") == ["AAPL", "MSFT", "BTC/USD"]
    assert entries.split(" , ") == []


@given(st.text(max_size=8))
def test_an_entry_is_trimmed_once_and_for_all(text: str) -> None:
    try:
        found = entries.entry(text)
    except ValueError:
        return
    assert found
    assert found == found.strip() == entries.entry(found)
    assert entries.split(found) == [found]
