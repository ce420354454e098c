"""Implementations that can take a tier's place; `examples.modules` is on the list of packages modules may come from."""
