"""Text as PostgreSQL can hold it: cleaned where every statement passes, whoever wrote it.

PostgreSQL refuses a NUL in a text and in JSON, and half a surrogate pair in either. Such letters come with what others
say (an exception of a module, a venue's answer, a model's reasoning), and must not make the row fail that tells of it.
They become U+FFFD rather than nothing, so that no cleaned text equals another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.postgresql.psycopg_any import Jsonb
from django.utils.safestring import SafeString
from psycopg2.extensions import QuotedString, register_adapter
from psycopg2.extras import Json

REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """The text with U+FFFD in place of each NUL and of each half of a surrogate pair."""
    text = text.replace("\0", REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cleaned(value: Any) -> Any:
    """The value with every text in it clean, names included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {cleaned(name): cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(each) for each in value]
    return value


def install() -> None:
    """Have psycopg clean each text and each JSON value that becomes part of a statement in this process."""
    for kind in (str, SafeString):  # Django gave the latter an adapter of its own
        register_adapter(kind, _quoted)
    for kind in (Json, Jsonb):
        register_adapter(kind, _clean_json)


def _quoted(text: str) -> QuotedString:
    if not text.isascii() or "\0" in text:
        text = clean(text)
    return QuotedString(text)


def _clean_json(wrapped: Json) -> Json:
    def dumps(value: Any) -> str:
        text: str = wrapped.dumps(value)
        if "\\u0000" in text or "\\ud" in text:
            text = wrapped.dumps(cleaned(value))
        return clean(text)

    return type(wrapped)(wrapped.adapted, dumps=dumps)
