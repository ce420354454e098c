"""The suite `trading`: target weights, orders, and strategies that turn closes straight into weights."""

from tiers.gates import orders, strategies, weights

TESTS = (*weights.TESTS, *orders.TESTS, *strategies.TESTS)

__all__ = ["TESTS"]
