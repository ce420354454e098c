"""How dates read in the admin: ISO 8601, UTC, a clock of 24 hours."""
