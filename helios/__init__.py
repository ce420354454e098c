"""The platform: settings, logs, flags, breakers, modules, events, and the local stack."""

VERSION = "0.4.0.dev0"
