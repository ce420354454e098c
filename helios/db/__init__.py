"""What migrations and services share of PostgreSQL: append-only tables, partitions, statements that may fail."""
