"""`/api/modularity/`: flags, breakers, modules and rollouts over HTTP."""
