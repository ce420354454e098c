"""Conversions between the times of arrays and of rows. Arrays hold UTC without saying so, rows are aware. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from trading.market.bars import TimeArray


def utc(stamp: np.datetime64) -> datetime:
    """A NumPy time as an aware datetime in UTC."""
    moment: datetime = stamp.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def utc_times(ts: TimeArray) -> tuple[datetime, ...]:
    """(n,) NumPy times as aware datetimes in UTC."""
    moments: list[datetime] = ts.astype("datetime64[us]").tolist()
    return tuple(moment.replace(tzinfo=UTC) for moment in moments)


def stamp(moment: datetime) -> np.datetime64:
    """An aware datetime as a NumPy time in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
