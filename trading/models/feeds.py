"""Where a book's bars come from, as a value and as a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from helios.entries import quoted
from helios.errors import DataError
from trading.enums import FeedKind

FEED_PATTERN = r"^(table|sample|file:.+)$"  # the database holds to it as well


@dataclass(frozen=True, slots=True)
class Feed:
    """A kind of feed with its settings; as text `table`, `sample` or `file:PATH`."""

    kind: FeedKind
    path: str = ""  # of a file

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes. Raises: DataError, one sentence, where it names no feed."""
        kind, colon, path = text.partition(":")
        if kind not in set(FeedKind) or (kind == FeedKind.FILE) != bool(path) or (colon and not path):
            raise DataError(f"a book's source must be table, sample or file:PATH, was {quoted(text)}")
        return cls(FeedKind(kind), path)

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else str(self.kind)


STORED = Feed(FeedKind.TABLE)


class _ParsedOnce(DeferredAttribute):
    """Text that is assigned is a feed from then on."""

    def __set__(self, instance: models.Model, value: Feed | str) -> None:
        instance.__dict__[self.field.attname] = Feed.parse(value) if isinstance(value, str) else value


if TYPE_CHECKING:
    _Text = models.CharField[Feed | str, Feed]
else:
    _Text = models.CharField  # Django's fields take no types at run time


class FeedField(_Text):
    """A feed, kept as text."""

    descriptor_class = _ParsedOnce

    def deconstruct(self) -> Any:
        """Migrations see the text column that it is."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.CharField", args, {**options, "default": str(options["default"])}

    def to_python(self, value: Any) -> Any:
        return Feed.parse(value) if isinstance(value, str) else value

    def run_validators(self, value: Any) -> None:
        super().run_validators(str(value))

    def get_prep_value(self, value: Any) -> str:
        return str(value)

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))
