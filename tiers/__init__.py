"""The pipeline: seven pure stages, and the thin shell that runs them."""
