"""Commands on terminals that know few characters, and with readers that leave early."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from helios import terminal
from helios.console import Console
from tests.support.places import ROOT


def table() -> Table:
    made = Table("symbol", "return", title="ü — a table …")
    made.add_row("BTC/USD", "\N{MULTIPLICATION SIGN}2 → \N{MINUS SIGN}1")
    return made


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], str]]:
    """Standard output in an encoding, and what arrived there."""

    def make(encoding: str) -> Callable[[], str]:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        terminal.prepare()
        return lambda: raw.getvalue().decode(encoding)

    return make


def test_a_table_on_an_ascii_terminal_is_drawn_in_ascii(written: Callable[[str], Callable[[], str]]) -> None:
    found = written("ascii")
    Console(width=40).print(table())
    assert "? - a table ..." in found()
    assert "| BTC/USD | x2 > -1 |" in found()


def test_a_table_that_was_drawn_before_loses_its_boxes_only(written: Callable[[str], Callable[[], str]]) -> None:
    found, drawn = written("ascii"), io.StringIO()
    Console(file=drawn, width=40).print(table())
    sys.stdout.write(drawn.getvalue())
    assert "| BTC/USD | x2 > -1 |" in found()
    assert "+---------+---------+" in found()


def test_where_no_screen_ends_a_line_no_name_is_broken(
    monkeypatch: pytest.MonkeyPatch, written: Callable[[str], Callable[[], str]]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    found, made, name = written("utf-8"), Table("book"), "a-name " * 30
    made.add_row(name)
    Console().print(made)
    assert name.strip() in found()
    assert max(map(len, found().splitlines())) < 300


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;pwn\x07", "[red]", "[/]", "[link=http://x]", ":smile:", "\x9b2J"])
def test_what_others_wrote_is_shown_as_it_is_wherever_it_stands_in_a_table(text: str) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, width=200, force_terminal=True, no_color=True)
    made = Table(f"header {text}", title=f"title {text}", caption=f"caption {text}")
    made.add_row(f"cell {text}")
    console.print(made)
    console.print(f"line {text}")
    found = re.sub(r"\x1b\[[\d;]*m", "", drawn.getvalue())  # its own styles
    escaped = terminal.shown(text)
    assert [f"{where} {escaped}" in found for where in ("header", "title", "caption", "cell", "line")] == [True] * 5
    assert found.replace("\n", "").isprintable()


def test_no_other_console_draws_what_commands_print() -> None:
    sources = [path for floor in ("helios", "tiers", "trading", "sentinel") for path in (ROOT / floor).rglob("*.py")]
    direct = re.compile(r"from rich\.console import .*\bConsole\b|BaseCommand\)")
    found = {str(path.relative_to(ROOT)) for path in sources if direct.search(path.read_text())}
    assert found == {"helios/plain_command.py"}


def test_what_a_terminal_knows_it_shows(written: Callable[[str], Callable[[], str]]) -> None:
    latin = written("latin-1")
    sys.stdout.write("ü \N{MULTIPLICATION SIGN} — \udce9")
    assert latin() == "ü \N{MULTIPLICATION SIGN} - ?"
    unicode = written("utf-8")
    sys.stdout.write("ü \N{MULTIPLICATION SIGN} — ─ \udce9")
    assert unicode() == "ü \N{MULTIPLICATION SIGN} — ─ ?"


def test_closed_streams_swallow_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as end:
        terminal.run_and_exit(lambda: sys.stdout.write("x") + 6)
    assert end.value.code == 7
    sys.stdout.close()


def test_a_broken_pipe_of_something_else_is_still_an_error() -> None:
    def broken() -> int:
        raise BrokenPipeError("the broker")

    with pytest.raises(BrokenPipeError, match="the broker"):
        terminal.run_and_exit(broken)


def run(*words: str, stdout: int, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *words]
    return subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_a_reader_that_leaves_ends_a_command_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = run("manage.py", "help", stdout=writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (terminal.READER_LEFT, "")


def test_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        ended = run("manage.py", "help", stdout=full.fileno())
    assert (ended.returncode, ended.stderr) == (1, "The output cannot be written: No space left on device\n")


def test_a_command_in_a_bare_ascii_environment_prints_what_it_can() -> None:
    bare = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    ended = run(
        "-c",
        "from rich.console import Console; from helios import terminal\n"
        "terminal.run_and_exit(lambda: Console().print('\\xfc \\u2500 \\u2014 \\u2026') or 0)",
        stdout=subprocess.PIPE,
        env=bare,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "? - - ...\n", "")


def test_every_entry_point_leaves_by_the_terminal() -> None:
    found = subprocess.run(["git", "grep", "-l", "__main__"], cwd=ROOT, capture_output=True, text=True, check=True)
    floors = ("helios/", "trading/", "tiers/", "sentinel/", "examples/")
    own = [name for name in found.stdout.split() if name.startswith(floors)]
    # No terminal is theirs: pipes and sockets are, and the caretaker of the servers has outlived its command.
    children = {"helios/modules/gate/__main__.py", "helios/modules/parsing_process.py"}
    children |= {"helios/warm_process.py", "helios/stack/idle_process.py", "trading/market/feeds/typed_process.py"}
    assert {"helios/stack/up.py", "examples/stories.py"} <= set(own)
    for name in {"manage.py", *own} - children:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "terminal.run_and_exit(" in text, name
        assert "sys.exit(main())" not in text, name
