"""One cycle on live data: which bar is due, the chain of seven tasks, each stage run once, and its rows."""
