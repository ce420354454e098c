"""`/api/modularity/`: flags, breakers and modules over HTTP. The reading half; writing joins it with its roles."""
