"""The web base: middleware, health, problem JSON, roles, the control plane's API and the admin's house style."""

VERSION = "0.3.0"
