"""Unleash's formats and rules: its state files read and written, its specification run against this evaluation."""
