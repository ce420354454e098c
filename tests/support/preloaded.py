"""Helios as it lies loaded in a warm process, and how a fork of that begins with the settings of its own environment.

Importing this module loads all of Helios, which takes a cold process two seconds, and makes what each process would
make again: the sessions of the stock market, another half.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import django
import numpy as np
from axes import conf as of_axes
from celery import current_app
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.utils.functional import empty

from helios import env, logs, warm_process
from helios import settings as of_environment
from trading.market.calendars import US_EQUITIES, calendar

PACKAGES = ("helios", "trading", "tiers", "sentinel")
NOT_LOADED = ("helios.asgi", "helios.modules.gate", "__main__", ".migrations.")


def begin() -> None:
    """Be `python ARGV`, the words behind this program, as if Django's settings were read only now."""
    read_settings()
    warm_process._as_main(sys.argv[1:])


def read_settings() -> None:
    """Read the settings of this process's environment, in place of those that were there when all was loaded."""
    for each in (env.get_env, logs._own_redactor):
        each.cache_clear()
    importlib.reload(of_environment)
    vars(settings).clear()
    settings._wrapped = empty
    for handler in (connections, caches):
        vars(handler).clear()
        type(handler).__init__(handler)
    importlib.reload(of_axes)  # it writes its defaults into the settings
    current_app.config_from_object("helios.celery:config", force=True)


def _load() -> None:
    django.setup()
    for package in PACKAGES:
        for found in pkgutil.walk_packages([package], f"{package}."):
            if not any(part in found.name for part in NOT_LOADED):
                importlib.import_module(found.name)
    calendar(US_EQUITIES).index("1h", np.array(["2018-01-02"], "datetime64[us]"))


_load()
