"""Logs: lines, levels, consoles, and no secret anywhere."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from loguru import logger

from helios import logs
from helios.env import Env
from helios.errors import HeliosError
from helios.logs import InterceptHandler, configure, secret_values
from tests.helios.test_log_files import refusing

Lines = Callable[[], list[str]]


@pytest.fixture
def own_logging() -> Iterator[None]:
    """The test's log set-up is gone afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logger.remove()
    logger.configure(extra={}, patcher=lambda _: None)
    root.handlers, root.level = handlers, level


@pytest.fixture
def set_up(own_logging: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Configure logs as a component would, under a folder of the test's own; returns the log file."""

    def make(component: str = "worker", *, console_level: str | None = None, **changes: Any) -> Path:
        env = Env(_env_file=None, var_dir=tmp_path, **changes)
        monkeypatch.setattr(logs, "get_env", lambda: env)
        configure(component, console_level=console_level)
        return tmp_path / "logs" / f"{component}.log"

    return make


def test_a_line_names_time_level_component_place_and_fields(set_up: Callable[..., Path]) -> None:
    path = set_up("worker")
    with logger.contextualize(cycle=7, tier="risk"):
        logger.warning("order.denied")
    (line,) = path.read_text().splitlines()
    moment, rest = line.split(" ", 2)[0], line.split(" ", 2)[2]
    assert len(moment) == len("2026-01-01")
    assert rest.split() == ["WARNING", "worker", "tests.helios.test_logs:", "order.denied", "cycle=7", "tier=risk"]


def test_json_lines_carry_the_same_and_the_traceback(set_up: Callable[..., Path]) -> None:
    path = set_up("web", log_format="json")
    try:
        raise ValueError("7 of 9")  # noqa: TRY301
    except ValueError:
        logger.bind(symbol="AAPL").exception("failed")
    entry = json.loads(path.read_text())
    assert entry["level"] == "ERROR"
    assert entry["component"] == "web"
    assert entry["symbol"] == "AAPL"
    assert entry["pid"] == os.getpid()
    assert entry["exception"].endswith("ValueError: 7 of 9\n")


def test_records_of_the_standard_library_arrive_with_their_own_name(set_up: Callable[..., Path]) -> None:
    path = set_up("worker")
    logging.getLogger("celery.worker").error("lost %s of %d {braces} <tags>", "one", 3)
    logging.getLogger("celery.worker").log(35, "a level of its own")
    first, second = path.read_text().splitlines()
    assert first.endswith("ERROR    worker celery.worker: lost one of 3 {braces} <tags>")
    assert "Level 35" in second


def test_a_call_whose_arguments_do_not_fit_is_logged_and_its_caller_goes_on(set_up: Callable[..., Path]) -> None:
    path = set_up("worker")
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if isinstance(each, InterceptHandler)]  # pytest's own raises
    logging.getLogger("celery").warning("%d tasks left", "many")
    logging.getLogger("celery").log(-5, "below all levels")
    (line,) = path.read_text().splitlines()
    assert "WARNING  worker celery: %d tasks left (its arguments do not fit: TypeError: %d format" in line


def test_a_trailing_newline_of_a_message_makes_no_empty_line(set_up: Callable[..., Path]) -> None:
    path = set_up("worker")
    logging.getLogger("celery").warning("connection lost\n\n")
    assert path.read_text().endswith("connection lost\n")
    assert path.read_text().count("\n") == 1


def test_an_exception_of_the_standard_library_keeps_its_traceback(set_up: Callable[..., Path]) -> None:
    path = set_up("worker")
    try:
        raise ValueError("7 of 9")  # noqa: TRY301
    except ValueError:
        logging.getLogger("django").exception("failed")
    assert "Traceback" in path.read_text()
    assert path.read_text().endswith("ValueError: 7 of 9\n")


FORGED = "x\n2026-01-01 00:00:00.000Z INFO     web helios: all is well\r\x1b[2J\u2028\ud800"
WRITTEN = FORGED.encode("unicode_escape").decode()


def test_no_text_makes_a_line_of_its_own_nor_moves_the_cursor(
    set_up: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = set_up("web")
    logger.bind(path=FORGED, **{FORGED: 1}).warning(FORGED)
    logging.getLogger("django.server").warning("Not Found: %s", FORGED)
    for text in (path.read_text(), capsys.readouterr().err):
        assert text.count("\n") == 2
        assert text.replace("\n", "").isprintable()
        assert text.count(WRITTEN) == 4


def test_the_lines_of_a_traceback_are_indented_whatever_the_error_says(set_up: Callable[..., Path]) -> None:
    path = set_up("web")
    try:
        raise ValueError(FORGED)  # noqa: TRY301
    except ValueError:
        logger.exception("failed")
    first, *others = path.read_text().splitlines()
    assert first.endswith("failed")
    assert all(line.startswith("  ") and line.isprintable() for line in others)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_strangers_send_is_cut_in_a_line(set_up: Callable[..., Path], form: str) -> None:
    path = set_up("web", log_format=form)
    logger.bind(path="/" + "a" * 32_000).info("http.request")
    logging.getLogger("django.server").warning("Not Found: %s", "/" + "a" * 32_000)
    lines = path.read_text().splitlines()
    assert all(len(line) < 2_500 and "letters)" in line for line in lines)
    assert len(lines) == 2


def test_a_request_that_is_refused_for_what_it_holds_writes_a_line_and_no_traceback(
    set_up: Callable[..., Path], client: Client
) -> None:
    path = set_up("web")
    assert client.get("/health", headers={"Host": f"{'a' * 9_000}.example"}).status_code == 400
    told = [line for line in path.read_text().splitlines() if "http.request" not in line]
    assert len(told) == 1
    assert "WARNING" in told[0]
    assert "Invalid HTTP_HOST header" in told[0]
    assert len(told[0]) < 350


def test_the_level_is_a_setting_and_the_console_can_be_quieter(
    set_up: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = set_up("manage", console_level="ERROR", log_level="INFO")
    logger.debug("not at all")
    logger.info("to the file")
    logger.error("to both")
    assert [line.rsplit(": ", 1)[1] for line in path.read_text().splitlines()] == ["to the file", "to both"]
    captured = capsys.readouterr()
    assert "to both" in captured.err
    assert "to the file" not in captured.err
    assert captured.out == ""


def test_configuring_twice_writes_each_line_once(set_up: Callable[..., Path]) -> None:
    set_up("worker")
    path = set_up("worker")
    logger.info("once")
    logging.getLogger("x").warning("also once")
    assert path.read_text().count("\n") == 2


def test_printing_handlers_are_taken_out_and_capturing_ones_stay(
    set_up: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    noisy = logging.getLogger("uvicorn.error")
    noisy.addHandler(logging.StreamHandler(sys.stderr))
    noisy.propagate = False
    path = set_up("web")
    noisy.warning("once")
    assert path.read_text().count("once") == 1
    assert not any(type(handler) is logging.StreamHandler for handler in noisy.handlers)
    assert "once" in caplog.text
    assert sum(isinstance(handler, InterceptHandler) for handler in logging.getLogger().handlers) == 1


def test_an_unwritable_folder_is_one_sentence(
    own_logging: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").write_text("")
    monkeypatch.setattr(logs, "get_env", lambda: Env(_env_file=None, var_dir=tmp_path))
    with pytest.raises(HeliosError, match=r"Helios cannot write its log in .*logs: "):
        configure("web")


def test_a_console_that_went_away_is_no_reason_to_fail(set_up: Callable[..., Path]) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    logs._console(Closed())("x")


@pytest.mark.parametrize("pair", [os.pipe, os.openpty])
def test_a_console_that_takes_nothing_is_not_waited_for(pair: Callable[[], tuple[int, int]]) -> None:
    source, sink = pair()
    os.set_blocking(source, False)
    text = ""
    with os.fdopen(source) as reading, os.fdopen(sink, "w") as full:
        write = logs._console(full)
        for number in range(3_000):  # 1 MB of lines of any length, and nobody reads
            write(f"{number:04} {'x' * (100 + number % 37 * 20)}\n")
        while part := reading.read(1_000):
            text += part
        write("it is read again\n")
        text += reading.read(1_000)
    assert text.endswith("\nit is read again\n")  # whatever was cut off before it
    assert text.startswith(f"0000 {'x' * 100}\n0001 ")
    assert 0 < len(text) <= 65_536


# --- secrets ---


def test_configured_secrets_never_reach_file_or_console(
    set_up: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWER_API_KEY", "from-the-environment")
    monkeypatch.delenv("HELIOS_DATABASE_URL")
    path = set_up(
        "worker",
        secret_key="the-signing-key",
        anthropic_api_key="an-llm-key",
        database_url="postgresql://me:db-p%40ss@h/x",
    )
    logger.info("a the-signing-key b an-llm-key c from-the-environment d db-p%40ss")
    logger.info("postgresql://me:db-p%40ss@h/x is slow")
    try:
        raise ValueError("the-signing-key in an exception")  # noqa: TRY301
    except ValueError:
        logger.exception("oops")
    for text in (path.read_text(), capsys.readouterr().err):
        for secret in ("the-signing-key", "an-llm-key", "from-the-environment", "db-p%40ss"):
            assert secret not in text
        assert "a *** b *** c *** d ***" in text
        assert "postgresql://me:***@h/x is slow" in text
        assert "ValueError: *** in an exception" in text


def test_the_secrets_of_a_process_are_settings_urls_and_named_variables(tmp_path: Path) -> None:
    env = Env(_env_file=None, var_dir=tmp_path, redis_url="redis://:queue-pass@q/0", database_url="postgresql:///x",
              FLOWER_BASIC_AUTH="ann:her-word,bob:his:word")  # fmt: skip
    found = secret_values(env, {"MY_TOKEN": "token-value", "HOME": "/home/me", "OTHER_PASSWORD": "abc"})
    assert {"queue-pass", "token-value", "her-word", "his:word"} <= found
    assert env.resolved_secret_key() in found
    assert not found & {"/home/me", "abc", "redis://:queue-pass@q/0"}


def test_a_line_that_meets_a_full_disk_is_shown_without_its_secrets(
    set_up: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = set_up("worker", secret_key="the-signing-key")

    with monkeypatch.context() as full:
        full.setattr(os, "write", refusing)
        for _ in range(3):
            logger.error("a the-signing-key b")
    said = capsys.readouterr().err
    assert said.count("a *** b") == 3
    assert "the-signing-key" not in said
    assert said.count("worker cannot write its log, has lost ") == 2  # the first and the second, then the fourth
    logger.error("there is room again")
    assert "there is room again" in path.read_text()
