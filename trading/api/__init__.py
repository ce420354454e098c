"""The trading tables over HTTP, read only."""
