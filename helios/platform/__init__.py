"""The web base: middleware, health, problem JSON, the read-only API and the admin's house style."""

VERSION = "0.1.0"
