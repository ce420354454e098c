"""What a line for people shows: no secret in any spelling, one line for one text, and time in proportion to it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helios.env import Env
from helios.logs import secret_values
from helios.redaction import LONGEST, MASK, printable, redactor, shortened

ANY = st.text(st.characters(exclude_categories=[]))  # lone surrogates too
# The patterns of before, which read a word anew from each of its letters: slow and plain.
PLAIN_LOGIN = re.compile(r"(\w+://[^\s:/@]*):(?!\d+(?:[/?#\s]|$))[^\s\"']+@")
PLAIN = (
    (PLAIN_LOGIN, rf"\1:{MASK}@"),
    (
        re.compile(
            r"(?i)((?:api|private|secret|access|signing)[_-]?key|secret|password|passwd|token|authorization)"
            r"""(["']?\s*[:=]\s*["']?)((?:bearer|token|basic)\s+)?[^\s"',;&}\\]+"""
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"\bsk-[\w-]{16,}|\bhelios_[\w-]{40,}"), MASK),
)
PIECES = (
    "://",
    ":",
    "@",
    "/",
    "?",
    '"',
    "'",
    " ",
    "\n",
    "a",
    "u",
    "9",
    "é",
    "token",
    "=",
    "KEY",
    "api_",
    "Bearer ",
    "sk-",
    "helios_",
    "x" * 9,
)


@pytest.mark.parametrize("password", ["S3cr/et #[1]", "p@ss:w?rd%", "pässwört +&'\"", "12/34567", "a<b>c\\d"])
def test_a_password_of_a_url_is_masked_in_every_spelling(password: str, tmp_path: Path) -> None:
    env = Env(_env_file=None, var_dir=tmp_path, redis_url=f"redis://:{quote(password, safe='')}@q/0")
    redact = redactor(secret_values(env, {}))
    written = quote(password, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), written)
    for text in (password, written, lower, quote(password), quote_plus(password), html.escape(password)):
        assert redact(f"a {text} b") == "a *** b"
        assert redact(f"redis://:{text}@q/0") == "redis://:***@q/0"
    assert redact(json.dumps({"password": "x", "n": password})) == '{"password": "***", "n": "***"}'
    assert redact(str({"n": password})) in {"{'n': '***'}", "{'n': \"***\"}"}


def test_a_secret_that_is_no_utf8_and_one_that_is_no_url_break_no_log(tmp_path: Path) -> None:
    env = Env(_env_file=None, var_dir=tmp_path)
    found = secret_values(env, {"A_TOKEN": "abcdef\udce9", "B_SECRET": "http://[broken-secret"})
    assert redactor(found)("x abcdef\udce9 http://[broken-secret y") == "x *** *** y"


@pytest.mark.parametrize(
    ("line", "redacted"),
    [
        ("api_key=abcdef123", "api_key=***"),
        ("'api-key': 'abcdef123', 'n': 1", "'api-key': '***', 'n': 1"),
        ('{"password": "hunter2hunter2", "n": 1}', '{"password": "***", "n": 1}'),
        ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
        ("sent bearer abcdefgh12345", "sent bearer ***"),
        ("redis://:pass@host:6379/0 lost", "redis://:***@host:6379/0 lost"),
        ("https://user:pass@host/path", "https://user:***@host/path"),
        ("redis://:S3cr/et#[1]@host:6379/0 lost", "redis://:***@host:6379/0 lost"),
        ("redis://:p@ss@host:6379/0 lost", "redis://:***@host:6379/0 lost"),
        ("http://127.0.0.1:8000/users/me@example.com", "http://127.0.0.1:8000/users/me@example.com"),
        ('{"a":"redis://:x@h","b":"c@d"}', '{"a":"redis://:***@h","b":"c@d"}'),
        (f"key sk-{'a1B2' * 6} ends", "key *** ends"),
        (f"GET /api/books/helios_{'a1B-' * 11}/ as helios_worker", "GET /api/books/***/ as helios_worker"),
        ("GET /x?token=abc&n=1", "GET /x?token=***&n=1"),
        ("max_tokens is 12 and secrets are safe", "max_tokens is 12 and secrets are safe"),
        ("unix:///run/valkey.sock?db=0", "unix:///run/valkey.sock?db=0"),
        ("12:30:01 ratio a:b", "12:30:01 ratio a:b"),
    ],
)
def test_what_looks_like_a_secret_is_masked(line: str, redacted: str) -> None:
    assert redactor([])(line) == redacted


@given(st.text(min_size=6).filter(lambda text: text.strip("*") == text), st.text(), st.text())
def test_a_known_secret_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert secret not in redactor([secret])(f"{before}{secret}{after}").replace(MASK, "\x00\x00\x00\x00\x00\x00")


def test_the_json_spelling_of_a_secret_is_masked_too() -> None:
    line = json.dumps({"message": 'my "quoted\\secret"'})
    assert json.loads(redactor(['"quoted\\secret"'])(line)) == {"message": "my ***"}


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example('a://9://"u:x@h')  # a colon that ends one and begins the next
def test_it_masks_what_the_slow_plain_patterns_mask(line: str) -> None:
    expected = line
    for pattern, replacement in PLAIN:
        expected = pattern.sub(replacement, expected)
    assert redactor([])(line) == expected


@given(ANY)
def test_any_text_becomes_one_printable_line_that_can_be_encoded(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    line.encode()
    assert printable(line) == line
    if text.isprintable():
        assert line == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b", "\\x9b"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, line: str) -> None:
    assert printable(text) == line


def test_a_long_value_is_cut_and_says_how_long_it_was() -> None:
    assert shortened("a" * LONGEST) == "a" * LONGEST
    assert shortened("a" * 32_000) == "a" * LONGEST + "... (32000 letters)"
    assert shortened(None) == "None"
