"""The suite `data`: rows that come in, and the features that are made of them."""

from tiers.gates import features, ingest

TESTS = (*ingest.TESTS, *features.TESTS)

__all__ = ["TESTS"]
