"""Conversions between the times of arrays and of rows."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np


def utc(stamp: np.datetime64) -> datetime:
    """A NumPy time as an aware datetime in UTC."""
    moment: datetime = stamp.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
