"""Reads of the trading domain."""
