"""Column types that several tables share."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.core.checks import CheckMessage
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Abs
from django.db.models.lookups import LessThan, LessThanOrEqual

from trading.symbols import MAX_LETTERS, PATTERN

ZERO = Decimal(0)
MOST = Decimal(10) ** 20  # an amount is less: beside eight decimals no more digits have room in 28
SCALE = 64  # decimals of an amount: of 28 digits, for a coin at 1e-36


class Exact(models.DecimalField):  # type: ignore[type-arg]  # it cannot be subscripted at run time
    """A finite decimal with all its digits, however small or large: PostgreSQL's numeric without bounds."""

    def check(self, **options: Any) -> list[CheckMessage]:
        unbounded = {"fields.E130", "fields.E132"}  # Django wants digits and decimal places
        return [found for found in super().check(**options) if found.id not in unbounded]

    def db_type(self, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002 - Django's signature
        return "numeric"

    def to_python(self, value: Any) -> Decimal | None:
        """A float becomes the shortest decimal that names it."""
        number: Decimal | None = super().to_python(str(value) if isinstance(value, float) else value)
        return number


def money(**options: Any) -> Exact:
    """An amount, price or quantity."""
    return Exact(**options)


def symbol_field(**options: Any) -> models.CharField[Any, Any]:
    """The name of an instrument, such as AAPL or VALR:BTC-ZAR: rows hang on it."""
    return models.CharField(max_length=MAX_LETTERS, **options)


def source_field(**options: Any) -> models.CharField[Any, Any]:
    """Where bars came from: a feed, sample:NAME or file:NAME."""
    return models.CharField(max_length=255, **options)


def is_symbol(table: str) -> models.CheckConstraint:
    """A check that the column `symbol` holds what `trading.symbols` calls a name."""
    return models.CheckConstraint(condition=models.Q(symbol__regex=PATTERN), name=f"{table}_symbol")


def timeframe_field(**options: Any) -> models.CharField[Any, Any]:
    """The length of a bar, such as 1m or 1d."""
    return models.CharField(max_length=4, **options)


def values(names: type[StrEnum]) -> list[str]:
    """The texts of an enumeration, as constraints and migrations take them."""
    return [each.value for each in names]


def named(names: type[StrEnum]) -> list[tuple[str, str]]:
    """The texts of an enumeration as choices."""
    return [(each.value, each.name.title()) for each in names]


def one_of(field: str, values: list[str], name: str) -> models.CheckConstraint:
    """A check that a text column holds one of the given values."""
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": values}), name=name)


def finite(table: str, *fields: str) -> models.CheckConstraint:
    """A check that amounts are numbers that money arithmetic can carry, to the satoshi; NULL passes.

    One that is none would make every sum with it fail, or none, and one of a thousand digits every sum after it long.
    """
    numbers = (LessThan(Abs(field), models.Value(MOST, Exact())) for field in fields)  # NaN is more than that
    digits = (LessThanOrEqual(models.Func(field, function="scale"), models.Value(SCALE)) for field in fields)
    return models.CheckConstraint(condition=models.Q(*numbers, *digits), name=f"{table}_finite")


def within(field: str, low: float, high: float, name: str) -> models.CheckConstraint:
    """A check that a column lies in [low, high]; NULL passes."""
    return models.CheckConstraint(
        condition=models.Q(**{f"{field}__gte": low, f"{field}__lte": high}) | models.Q(**{f"{field}__isnull": True}),
        name=name,
    )
