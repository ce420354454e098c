"""The gate in front of every worker: code runs in a process of its own first, whatever it does there."""
