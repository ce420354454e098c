"""`/api/modularity/`: flags, breakers and modules over HTTP, read only."""
