"""The pure rules of modules."""
