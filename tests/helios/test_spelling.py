"""The nearest name: found as `difflib` finds it, by few comparisons whoever chose the names."""

from __future__ import annotations

import pytest

from helios.spelling import LIKELIEST, nearest

NAMES = [
    "auto_trading",
    "kelly_position_sizing",
    "garch_volatility",
    "hot_reload_modules",
    "black_litterman",
    "x" * 200,
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("atuo_trading", NAMES[0]),
        ("kelly_sizing", NAMES[1]),
        ("garch", ""),
        ("hot_reload_module", NAMES[3]),
        ("", ""),
        ("x" * 180, NAMES[5]),
        ("nothing_alike", ""),
    ],
)
def test_what_was_meant_is_named(name: str, meant: str) -> None:
    assert nearest(name, NAMES) == meant


def test_few_names_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def close(name: str, known: list[str], n: int) -> list[str]:
        compared.extend(known)
        return []

    monkeypatch.setattr("helios.spelling.difflib.get_close_matches", close)
    nearest("ab" * 50, [f"{n:09b}".replace("0", "ab").replace("1", "ba") * 6 for n in range(500)])
    assert len(compared) == LIKELIEST
    assert max(map(len, compared)) <= 100
