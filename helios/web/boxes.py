"""Boxes of a page that take several values as one text, and no more of it than a person types."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.forms import SimpleArrayField
from django.contrib.postgres.utils import prefix_validation_error
from django.core.exceptions import ValidationError
from django.db import models
from django.forms.fields import InvalidJSONInput
from rest_framework.exceptions import ParseError

from helios.web.parsing import read

MOST_TYPED: Final = 262_144  # characters, as a person lays out the 64 KiB that a flag may hold
MAX_NAMES: Final = 16_384  # of a letter each; no flag has room for more


class NameList(SimpleArrayField):
    """Texts between commas, not more than a person types; the first that is wrong is told, where Django tells each."""

    def to_python(self, value: Any) -> Any:
        names = value.split(self.delimiter) if isinstance(value, str) and value else []
        if len(names) > MAX_NAMES:
            raise ValidationError(f"this must have at most {MAX_NAMES:,} entries, had {len(names):,}")
        found = list[Any]()
        for nth, name in enumerate(names, 1):
            try:
                found.append(self.base_field.clean(name))
            except ValidationError as error:
                message = self.error_messages["item_invalid"]
                raise prefix_validation_error(error, message, "item_invalid", {"nth": nth}) from error
        return found or super().to_python(value)


class JsonText(forms.JSONField):
    """Django's, which knows one way in which a text is none; what the API's bodies must be is asked here too."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and not self.disabled:
            if len(value) > MOST_TYPED:
                raise ValidationError(f"this must have at most {MOST_TYPED:,} characters, had {len(value):,}")
            try:
                read(value.encode(), "this")
            except ParseError as error:
                raise ValidationError(str(error.detail)) from error
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed, as it was typed."""
        return super().bound_data(data, initial) if data is None or self.disabled else InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        """In lines, unless these are more than may be typed: they may be thirty times as long."""
        if isinstance(value, InvalidJSONInput):
            return value
        lines = json.dumps(value, ensure_ascii=False, indent=2)
        return lines if len(lines) <= MOST_TYPED else json.dumps(value, ensure_ascii=False)


def bounded(field: models.Field[Any, Any]) -> dict[str, type[forms.Field]]:
    """Which of them a model's field gets."""
    if isinstance(field, ArrayField):
        return {"form_class": NameList}
    return {"form_class": JsonText} if isinstance(field, models.JSONField) else {}
