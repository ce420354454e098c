"""Tier 1: raw rows -> clean bars, and the bars of higher timeframes that closed with them."""

from tiers.ingest.cycle import IngestResult, run, window_start

VERSION = "1.0.0"

__all__ = ["VERSION", "IngestResult", "run", "window_start"]
