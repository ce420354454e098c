"""Versions as semver.org 2.0.0 writes them."""

from __future__ import annotations

from semver import Version


def parse(text: str) -> Version:
    """The version without its build metadata, which plays no part in the order; ValueError for any other text.

    Stricter than the library, which takes digits of any alphabet and a line break at the end.
    """
    if not text.isascii() or text != text.strip():
        raise ValueError(f"{text!r} is no version of semver.org")
    return Version.parse(text).replace(build=None)
