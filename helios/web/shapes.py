"""Shapes of requests: every field of the type it names, and no field that the shape does not know."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import Model
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios import entries
from helios.entries import MAX_REASON
from helios.spelling import nearest

Row = TypeVar("Row", bound=Model)
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,99}")
SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_PARTS: Final = 100
MAX_NAMED: Final = 20  # unknown fields that one answer names; a body may hold tens of thousands


class OneLine(RegexValidator):
    """The pattern, which the document shows, and what no pattern there can name."""

    def __call__(self, value: Any) -> None:
        if not entries.is_one_line(str(value)):
            raise ValidationError(self.message, code=self.code, params={"value": value})


ONE_LINE: Final = OneLine(entries.ONE_LINE, entries.NOT_ONE_LINE)


class StrictBoolean(serializers.BooleanField):
    """true or false; the words "yes" and "1" are neither."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError(f"must be true or false, was {quoted(data)}")
        return data


class StrictInteger(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer() and abs(data) < 2**53:
            return int(data)  # JSON knows one kind of number: 5.0 is 5
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError(f"must be a whole number, was {quoted(data)}")
        return data


class StrictFloat(serializers.FloatField):
    """A finite JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
            raise serializers.ValidationError(f"must be a number, was {quoted(data)}")
        return float(data)


class StrictText(serializers.CharField):
    """A JSON text, kept as it is; other types are not turned into one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(*args, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            raise serializers.ValidationError(f"must be a text, was {quoted(data)}")
        return super().run_validation(data)


class Name(StrictText, serializers.RegexField):
    """The name of something that is to be made."""

    def __init__(self, pattern: re.Pattern[str] = NAME, **kwargs: Any) -> None:
        super().__init__(f"^{pattern.pattern}$", **kwargs)


class StrictDateTime(serializers.DateTimeField):
    """ISO 8601 with a time zone: a time without one names no moment."""

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise serializers.ValidationError(f"must be a time in ISO 8601, was {quoted(value)}")
        try:
            found = super().to_internal_value(value)
        except (OverflowError, ValueError) as error:
            raise serializers.ValidationError(f"must be a time between the years 1 and 9999, was {value!r}") from error
        return found

    def enforce_timezone(self, value: Any) -> Any:
        if value.tzinfo is None:
            raise serializers.ValidationError("must carry a time zone, such as Z or +02:00, did not")
        return super().enforce_timezone(value)


class Body(serializers.Serializer[Any]):
    """A request's body; unknown fields are refused by their names, with the nearest one that there is."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = [name for name, field in self.fields.items() if not field.read_only]
            strange = islice((str(name) for name in data if name not in known), MAX_NAMED)
            wrong = {name: _unknown(name, known) for name in strange}
            if wrong:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)


class Query(Body):
    """Parameters of an address. They are texts, so plain DRF fields belong here, not the strict ones."""


class Reasoned(Body):
    """A change that may say why; the history keeps it."""

    reason = StrictText(
        required=False,
        default="",
        allow_blank=True,
        max_length=MAX_REASON,
        validators=[ONE_LINE],
        help_text="kept in the history",
    )


class Versioned(Reasoned):
    """A change of what the caller has seen; with `version` only if nobody changed it since."""

    version = StrictInteger(
        required=False, min_value=0, help_text="the `version` you saw; or send its ETag as If-Match"
    )


class ReasonQuery(Query):
    """A reason where there is no body."""

    reason = serializers.CharField(required=False, default="", max_length=MAX_REASON, validators=[ONE_LINE])


class ReadOnlySerializer(serializers.ModelSerializer[Row]):
    """An answer: a row as it is, nothing of it to be set."""

    def get_extra_kwargs(self) -> dict[str, Any]:
        return {name: {"read_only": True} for name in self.Meta.fields}


class NothingElse(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """The schema says of every `Body` what it does with unknown fields."""

    target_class = "helios.web.shapes.Body"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        found: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001 - its documented way
        found["additionalProperties"] = False
        return found


def several(shape: Any, most: int = MAX_PARTS) -> Any:
    """A list of objects of this shape, which may be left out."""
    return shape(many=True, required=False, max_length=most)


def stored(shape: type[Body]) -> serializers.ReadOnlyField:
    """A column that holds a list of objects of this shape already."""

    @extend_schema_field(shape(many=True))
    class Stored(serializers.ReadOnlyField):
        """The column as it is."""

    return Stored()


def ordering(*names: str) -> serializers.ChoiceField:
    """The parameter that sorts a list by one of these fields, a minus before it turns the order round."""
    choices = [each for name in names for each in (name, f"-{name}")]
    return serializers.ChoiceField(choices=choices, required=False, help_text="a minus: descending")


def quoted(value: Any) -> str:
    """A value for a sentence, cut where it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown(name: str, known: list[str]) -> list[str]:
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
    return [f"is not a known field; {hint}"]
