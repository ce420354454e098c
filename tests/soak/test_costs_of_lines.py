"""A line of the log costs time in proportion to its length, whatever word it repeats."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from helios.redaction import printable, redactor
from tests.helios.test_redaction import PIECES

LETTERS = 30_000


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join), st.sampled_from(PIECES))
def test_four_times_the_letters_cost_far_less_than_sixteen_times_the_time(word: str, end: str) -> None:
    redact = redactor(["a-secret-value"])

    def cost_s(letters: int) -> float:
        line, took = word * (letters // len(word)) + end, []
        for _ in range(3):
            started = time.process_time()
            redact(printable(line))
            took.append(time.process_time() - started)
        return min(took)

    assert cost_s(4 * LETTERS) < 8 * cost_s(LETTERS) + 0.05
