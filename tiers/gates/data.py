"""The suite `data`: rows that come in, and the features that are made of them."""

from tiers.gates import columns, rows

TESTS = (*rows.TESTS, *columns.TESTS)

__all__ = ["TESTS"]
