"""The broker Alpaca: its REST interface, its stream, and what both say in our words."""
