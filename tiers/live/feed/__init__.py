"""Live market data: a venue's stream is heard, its minutes are stored, and what was missed, or is wanted, asked for."""
