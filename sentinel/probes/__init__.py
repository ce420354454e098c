"""The reading half of the sentinel: each probe asks one thing, within a time limit, and returns facts."""
