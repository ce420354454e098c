"""What code must prove before it may stand in for a stage: suites of properties, on inputs made from a seed.

Run by `helios.modules.gate` in a process of its own. NumPy only; torch where a predictor is needed.
"""
