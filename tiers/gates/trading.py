"""The suite `trading`: target weights, orders, and strategies that turn closes straight into weights."""

from tiers.gates import execute, portfolio, strategies

TESTS = (*portfolio.TESTS, *execute.TESTS, *strategies.TESTS)

__all__ = ["TESTS"]
