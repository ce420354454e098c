"""How far work has come, for people at a terminal and for those who read a file."""

from __future__ import annotations

import pytest

from helios import progress
from helios.console import Console


@pytest.mark.parametrize(
    ("quiet", "terminal", "told"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_a_line_now_and_then_is_for_whom_there_is_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool, terminal: bool, told: bool
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.progress_of(Console(force_terminal=terminal), quiet=quiet)
    tell = progress.telling(bar, quiet=quiet)
    for second in range(1, 26):
        now[0] = 100.0 + second
        tell(f"{second} of 25")
    assert [line for line in capsys.readouterr().out.splitlines() if line] == ["10 of 25", "20 of 25"] * told
