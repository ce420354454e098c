"""The file `.env`: NAME=value, one a line, in UTF-8."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from dotenv.parser import parse_stream

from helios.errors import SettingsError


def names(path: Path) -> Iterator[str]:
    """The names that an env file gives values to. Raises: SettingsError that names the file and the line."""
    if not path.is_file():
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.start - error.object.rfind(b"\n", 0, error.start)
        raise SettingsError(f"{path} must be UTF-8, was not at line {line}, byte {byte}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    for found in parse_stream(io.StringIO(text)):
        if found.error or (found.key and found.value is None):
            raise SettingsError(f"{path}: line {found.original.line} must be NAME=value, was not")
        if found.key:
            yield found.key
