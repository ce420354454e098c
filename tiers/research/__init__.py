"""What is learnt from stored history: models that are trained, challengers that are replayed."""
