"""The web base: middleware, problem JSON, roles, parsing, paging, idempotency, and the admin's house style."""
