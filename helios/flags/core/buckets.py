"""Whom a percentage serves: sticky buckets, and shares that grow with time."""

from __future__ import annotations

from datetime import datetime

import mmh3

from helios.flags.core.definition import BUCKETS, FlagDefinition, Strategy


def murmur(text: str, seed: int) -> int:
    """murmur3 x86 32 bit of the text in UTF-8, without sign; half a surrogate pair is hashed as it is.

    The text is encoded here: mmh3 5.3 ends the process when it is handed half a surrogate pair in a str.
    """
    return int(mmh3.mmh3_32_uintdigest(text.encode("utf-8", "surrogatepass"), seed))


def bucket(group_id: str, sticky_id: str) -> int:
    """The bucket 1..100 of a sticky id: murmur3 x86 32 bit with seed 0, as in Unleash's specification."""
    return murmur(f"{group_id}:{sticky_id}", 0) % BUCKETS + 1


def share(flag: FlagDefinition, now: datetime) -> float:
    """The percentage served at `now`: fixed, by the schedule, or of a gradual flag rising to `percentage`.

    A gradual flag without times, or before its start, has not begun: 0.
    """
    if flag.strategy is Strategy.PERCENTAGE:
        return next((step.percentage for step in reversed(flag.schedule) if step.at <= now), flag.percentage)
    if flag.strategy is not Strategy.GRADUAL:
        return flag.percentage
    if flag.gradual_start is None or flag.gradual_end is None or now < flag.gradual_start:
        return 0.0
    if now >= flag.gradual_end:
        return flag.percentage
    done = (now - flag.gradual_start) / (flag.gradual_end - flag.gradual_start)
    return flag.gradual_from + (flag.percentage - flag.gradual_from) * done


def is_moving(flag: FlagDefinition) -> bool:
    """Whether the share hangs on the time."""
    if flag.strategy is Strategy.GRADUAL:
        return flag.gradual_start is not None
    return flag.strategy is Strategy.PERCENTAGE and bool(flag.schedule)
