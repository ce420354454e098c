"""The names that tables, tiers and markets share. Imports nothing of the house, so that every room may use it."""

from __future__ import annotations

from enum import StrEnum


class Timeframe(StrEnum):
    """The length of a bar; in seconds by `trading.market.timeframes`."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    D1 = "1d"


class AssetClass(StrEnum):
    """What kind of thing an instrument is; its usual lots and calendar by `trading.market.lots`."""

    EQUITY = "equity"
    CRYPTO = "crypto"


class TradingState(StrEnum):
    """What a book may do: trade, only shrink positions, or send nothing. Each is more careful than the one before."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


SEVERITY = tuple(TradingState)


class Side(StrEnum):
    """Of an order, a fill or a trade."""

    BUY = "BUY"
    SELL = "SELL"


class ActionKind(StrEnum):
    """What a company does with its shares: more or fewer of them for the old ones, or money for each."""

    SPLIT = "split"
    DIVIDEND = "dividend"


class FeedKind(StrEnum):
    """Where a book's bars come from: what is stored, the bundled data, or a file."""

    TABLE = "table"
    SAMPLE = "sample"
    FILE = "file"


class Signal(StrEnum):
    """What the forecast says about one symbol."""

    SELL = "SELL"
    HOLD = "HOLD"
    BUY = "BUY"


class Stance(StrEnum):
    """The strategic view on the market as a whole."""

    RISK_ON = "RISK_ON"
    NEUTRAL = "NEUTRAL"
    RISK_OFF = "RISK_OFF"
