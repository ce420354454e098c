"""The platform: settings, logs, flags, breakers, modules, events, and the local stack."""

VERSION = "0.3.0"
