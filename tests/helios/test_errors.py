"""An error from outside is told in words, whatever its class does when it is asked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from loguru import logger

from helios import errors, logs, outage
from helios.breakers.guard import Breaker
from helios.env import Env
from helios.errors import DataError, Foreign, HeliosError, Transient, causes, plain, trace

RAN: list[str] = []


def spy(*_: object) -> None:
    RAN.append(sys._getframe(1).f_code.co_filename)
    raise OSError("told by nobody")


def hostile(base: type[BaseException]) -> BaseException:
    """An error whose class notes who asks it anything."""
    hidden = dict.fromkeys(("__class__", "__cause__", "__context__", "__traceback__", "args", "pgcode"), property(spy))
    methods = dict.fromkeys(("__str__", "__repr__", "__reduce_ex__", "__getattribute__", "__setattr__"), spy)
    operators = dict.fromkeys(("__eq__", "__hash__", "__bool__", "__len__"), spy)
    made = type("Spy", (base,), {**hidden, **methods, **operators})("hostile")
    try:
        raise made  # noqa: TRY301
    except BaseException:  # noqa: BLE001 - now it has a traceback
        return made


@pytest.fixture(autouse=True)
def _asked_only_for_its_text() -> Iterator[None]:
    RAN.clear()
    yield
    assert set(RAN) <= {errors.__file__}


BASES = (BaseException, ValueError, HeliosError, psycopg2.OperationalError, psycopg2.InterfaceError, OSError)


@pytest.mark.parametrize("base", BASES)
def test_whether_a_server_is_away_is_found_without_a_word_from_the_error(
    base: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in (outage.POSTGRES, outage.VALKEY):
        monkeypatch.setattr(server, "_ask", lambda: None)
    assert outage.report(hostile(base), clearing_up=True) is (base is psycopg2.OperationalError)


@pytest.mark.parametrize("base", BASES)
def test_a_log_shows_an_error_with_its_place_without_a_word_from_its_class(
    base: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "get_env", lambda: Env(_env_file=None, var_dir=tmp_path))
    monkeypatch.setattr(logs, "_take_over", lambda _: None)
    monkeypatch.setattr(outage, "report", lambda *_, **__: False)
    logs.configure("worker")
    error = hostile(base)
    try:
        found = (type(error), error, None)
        logger.opt(exception=found).error("failed")
        for fields in ({"msg": "failed", "exc_info": found}, {"msg": "%s", "args": (error,)}):
            logs.InterceptHandler().emit(logging.makeLogRecord({"name": "any", "levelno": 40, **fields}))
    finally:
        logger.remove()
        logger.configure(extra={}, patcher=lambda _: None)
    text = (tmp_path / "logs" / "worker.log").read_text()
    assert text.count("failed\n") == 2
    assert text.count("its text cannot be read (OSError)") == 3
    assert text.count("in hostile") == 2


def test_a_breaker_judges_an_error_without_a_word_from_it() -> None:
    guard: Any = Breaker("any", ignore=(OSError,))
    assert [guard._judged(hostile(base)).name for base in (ValueError, OSError)] == ["FAILURE", "IGNORED"]


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (ValueError("bad"), Foreign, "ValueError: bad"),
        (Transient("slow"), Transient, "slow"),
        (DataError("row 3"), DataError, "row 3"),
        (type("Own", (DataError,), {})("row 3"), DataError, "row 3"),
        (type("Away", (psycopg2.OperationalError,), {})("gone"), psycopg2.OperationalError, "gone"),
        (type("Other", (HeliosError,), {})("no"), HeliosError, "no"),
    ],
)
def test_an_error_is_made_one_of_ours_of_its_kind(raised: BaseException, kind: type, text: str) -> None:
    made = plain(raised, also=(psycopg2.OperationalError,))
    assert (type(made), str(made)) == (kind, text)


def test_what_led_to_an_error_is_told_first_and_once() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert list(causes(one)) == [one, two]
    assert trace(one) == "ValueError: two\n\nwhich led to:\n\nValueError: one\n"
