"""The exchange VALR: its REST interface, its stream, and what both say in our words."""
