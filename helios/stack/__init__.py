"""The embedded PostgreSQL and Valkey, and the local processes that make up a running Helios."""
