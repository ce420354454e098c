"""Whether a row can be evaluated: what the definition, or the database, would refuse, in one sentence."""

from __future__ import annotations

import re
from typing import Final

from helios.flags.core.definition import NAME
from helios.flags.core.fields import EDITABLE
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment
from helios.flags.reader import definition_from, segment_from

_FIELD: Final = re.compile(r"[a-z_]+")


def check_flag(flag: FeatureFlag) -> None:
    """Raise `InvalidFlagError` where the fields contradict each other or cannot be read."""
    try:
        definition_from(vars(flag))
    except ValueError as error:
        raise InvalidFlagError(str(error), _field(str(error))) from error


def check_segment(segment: FlagSegment) -> None:
    """Raise `InvalidFlagError` where the name is none, or the constraints cannot be read."""
    if not NAME.fullmatch(segment.name):
        shown = segment.name[:120]
        raise InvalidFlagError(f"a segment's name must be 1 to 100 letters, digits or _ . ~ -, was {shown!r}", "name")
    try:
        segment_from(vars(segment))
    except ValueError as error:
        raise InvalidFlagError(str(error), "constraints") from error


def _field(sentence: str) -> str:
    """The field with which the sentence begins, as in `constraints[0].operator must be ...`; else none."""
    found = _FIELD.match(sentence)
    return found.group() if found and found.group() in EDITABLE else ""
