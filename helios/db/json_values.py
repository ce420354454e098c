"""Values as a JSON column keeps them, and what kind of value one takes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import CheckConstraint, F, Func, TextField, Value
from django.db.models.lookups import Exact

_KINDS: Final = {"list": ("array", "a list"), "object": ("object", "an object")}


def shape_check(kind: str, table: str, field: str) -> CheckConstraint:
    """The column holds a JSON list, or object; what stands in it is its reader's to check."""
    name, words = _KINDS[kind]
    found = Func(F(field), function="jsonb_typeof", output_field=TextField())
    return CheckConstraint(
        condition=Exact(found, Value(name)),
        name=f"{table}_{field}_is_{kind}",
        violation_error_message=f"{field} must be {words}",
    )


def json_safe(value: Any) -> Any:
    """The value with NaN and infinities as None, numbers of numpy as plain ones, tuples as lists and dates as text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return float(value) if math.isfinite(value) else None
    return value
