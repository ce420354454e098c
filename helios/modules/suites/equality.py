"""Whether two values are the same to the last bit, and where not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import numpy as np


def difference(one: Any, other: Any, place: str = "it") -> str:
    """Where two results differ, in words; empty when they are the same. NaN is the same as NaN."""
    return next(_differences(one, other, place), "")


def _differences(one: Any, other: Any, place: str) -> Iterator[str]:
    """Classes are compared by name: code loaded twice has two classes of one name."""
    if type(one).__name__ != type(other).__name__:
        yield f"{place} was a {type(one).__name__}, then a {type(other).__name__}"
    elif isinstance(one, np.ndarray):
        yield from _arrays(one, other, place)
    elif is_dataclass(one) and not isinstance(one, type):
        for item in fields(one):
            yield from _differences(getattr(one, item.name), getattr(other, item.name), f"{place}.{item.name}")
    elif isinstance(one, Mapping):
        yield from _mappings(one, other, place)
    elif isinstance(one, Sequence) and not isinstance(one, str | bytes):
        yield from _sequences(one, other, place)
    elif not _equal(one, other):
        yield f"{place} was {one!r:.80}, then {other!r:.80}"


def _arrays(one: Any, other: Any, place: str) -> Iterator[str]:
    if one.shape != other.shape or one.dtype != other.dtype:
        yield f"{place} was {one.dtype} {one.shape}, then {other.dtype} {other.shape}"
    elif one.dtype.kind in "fc":
        apart = (one != other) & ~(np.isnan(one) & np.isnan(other))
        if apart.any():
            yield f"{place} differs in {int(apart.sum())} of {apart.size} places"
    else:
        apart = (one != other) & ~((one != one) & (other != other))  # noqa: PLR0124 - not a time, like not a number
        if apart.any():
            yield f"{place} differs in {int(apart.sum())} of {one.size} places"


def _mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], place: str) -> Iterator[str]:
    if list(one) != list(other):
        yield f"{place} had the keys {list(one)!r:.80}, then {list(other)!r:.80}"
        return
    for key, value in one.items():
        yield from _differences(value, other[key], f"{place}[{key!r}]")


def _sequences(one: Sequence[Any], other: Sequence[Any], place: str) -> Iterator[str]:
    if len(one) != len(other):
        yield f"{place} had {len(one)} parts, then {len(other)}"
        return
    for index, (left, right) in enumerate(zip(one, other, strict=True)):
        yield from _differences(left, right, f"{place}[{index}]")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float | Decimal):
        return one == other or (math.isnan(one) and math.isnan(other))
    kind: Any = type(one)
    if kind.__eq__ is object.__eq__:  # such as a predictor: one object cannot say that it equals another
        return True
    return bool(one == other)
