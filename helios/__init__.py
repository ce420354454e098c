"""The platform: settings, logs, flags, breakers, modules, events, and the local stack."""
