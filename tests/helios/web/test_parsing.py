"""Bodies: JSON that a table can hold, or a sentence; never a 5xx, whatever the bytes."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import unicodedata
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from helios import entries
from helios.breakers.admin import BreakerForm
from helios.errors import harmless
from helios.flags.forms import FlagForm
from helios.redaction import printable
from helios.web import parsing
from helios.web import shapes as strict
from tests.support.people import Api

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc/~", max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_what_a_table_can_hold_is_read_as_it_is(value: Any) -> None:
    assert parsing.read(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(raw: bytes) -> None:
    with contextlib.suppress(ParseError):
        parsing.read(raw)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"a": "\\u0000"}', "/a must not hold a NUL character, did"),
        (b'{"a": ["x", "b\\u0000"]}', "/a/1 must not hold a NUL character, did"),
        (b'{"a\\u0000": 1}', "/a\\x00 must not hold a NUL character, did"),
        (b'{"a": "\\ud800"}', "/a must be Unicode text, held half a surrogate pair"),
        (b'{"a": 9223372036854775808}', "/a must be a number of at most 64 bits, was larger"),
        (b'{"a": 1e999}', "/a must be a number of at most 64 bits, was larger"),
        (b'{"a": NaN}', "a body must be JSON, was not: numbers must be finite, was NaN"),
        (b'{"a": 1, "a": 2}', "a body must be JSON, was not: names must be given once, twice was 'a'"),
        (b"\xff", "a body must be UTF-8, was not at byte 0"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", f"/a{'/0' * 31} must be nested at most 32 deep, was deeper"),
        (b"[" * 20_000, "a body must be nested at most 32 deep, was deeper"),
        (b"[" * 200_000, "a body must have at most 20,000 commas and opening brackets, had 200,000"),
        (b"[" + b"[1]," * 10_000 + b"1]", "a body must have at most 20,000 commas and opening brackets, had 20,001"),
    ],
)
def test_what_no_table_can_hold_is_refused_with_its_place(raw: bytes, detail: str) -> None:
    with pytest.raises(ParseError) as raised:
        parsing.read(raw)
    assert str(raised.value.detail) == detail


def test_a_number_with_thousands_of_digits_is_no_work() -> None:
    with pytest.raises(ParseError):
        parsing.read(b"1" * 100_000)


def test_nothing_is_an_empty_object() -> None:
    assert parsing.read(b"") == parsing.read(b"  \n") == {}


# --- over HTTP ---

ODD = [
    b"", b"{", b"null", b"[]", b"0", b'"text"', b'{"percentage": 1e400}', b'{"percentage": ' + b"9" * 5000 + b"}",
    b'{"percentage": {"$gt": 0}}', b'{"reason": "\\u0000", "percentage": 5}', b"[" * 5000, b"\x00\x01\x02",
    b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("raw", ODD, ids=range(len(ODD)))
def test_an_odd_body_is_the_callers_mistake(operator: Api, raw: bytes) -> None:
    response = operator.send("POST", "feature-flags/websocket_streaming/percentage", raw)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_a_body_that_is_no_json_by_its_type_is_refused(operator: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        response = operator.send(
            "POST", "feature-flags/websocket_streaming/percentage", b"percentage=5", **{"Content-Type": kind}
        )
        assert response.status_code == 415, kind
        assert response.json()["title"] == "Unsupported Media Type"


@pytest.mark.django_db
def test_a_huge_body_is_refused_before_it_is_read(operator: Api) -> None:
    raw = b'{"reason": "' + b"x" * parsing.MAX_BYTES + b'"}'
    response = operator.send("POST", "feature-flags/websocket_streaming/disable", raw)
    assert (response.status_code, response.json()["detail"]) == (
        413,
        "a body must have at most 1048576 bytes, was larger",
    )


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*"])
def test_answers_are_json_whatever_is_accepted(viewer: Api, accept: str) -> None:
    response = viewer.get("feature-flags", Accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.django_db
def test_a_method_that_a_route_does_not_have_is_named(operator: Api) -> None:
    response = operator.send("PUT", "feature-flags/websocket_streaming")
    assert response.status_code == 405
    assert set(response["Allow"].split(", ")) == {"GET", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def test_a_name_twice_among_many_is_found_at_once() -> None:
    names = b",".join(b'"n%d": 1' % number for number in range(19_000))
    with pytest.raises(ParseError, match="twice was 'n7'"):
        parsing.read(b'{%b, "n7": 1}' % names)


def test_of_many_unknown_fields_some_are_named(operator: Api) -> None:
    answer = operator.post("feature-flags", {"name": "many", **{f"percentag{number}": 1 for number in range(19_000)}})
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == strict.MAX_NAMED


@pytest.mark.django_db
def test_a_reason_holds_nothing_that_changes_how_the_rest_of_a_line_looks() -> None:
    unseen = [chr(n) for n in range(0x10000) if unicodedata.category(chr(n)) in {"Cc", "Cf", "Zl", "Zp"}]
    assert len(unseen) > 100
    assert [each for each in unseen if re.match(entries.ONE_LINE, f"a{each}b")] == []
    above = [chr(n) for n in range(0x10000, sys.maxunicode) if unicodedata.category(chr(n)) == "Cf"]
    assert len(above) > 100
    assert [each for each in (*unseen, *above) if entries.is_one_line(f"a{each}b")] == []
    assert [each for each in (*unseen, *above) if each in printable(each)] == []
    assert [each for each in (*unseen, *above) if each in harmless(each)] == ["\t", "\n"]
    assert entries.reason("Zürich, 東京 → «±5 %» ½ 📉")


@pytest.mark.parametrize(
    "reason",
    [
        "\x1b[2J",
        "ring\x07",
        "one\nanother line",
        "next\x85",
        "\u2028",
        "gnp\u202e.exe",
        "\u2066",
        "\U000e0041",
        "\U0001d173",
    ],
)
def test_a_reason_is_one_line_without_control_characters(operator: Api, reason: str) -> None:
    refused = operator.post("feature-flags/websocket_streaming/disable", {"reason": reason})
    assert (refused.status_code, refused.json()["errors"]) == (
        400,
        [{"detail": "must be one line without control characters, was not", "pointer": "/reason"}],
    )
    for form in (FlagForm(), BreakerForm()):
        with pytest.raises(ValidationError, match="must be one line without control characters"):
            form.fields["reason"].clean(f"why{reason}then")
