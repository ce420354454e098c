#!/usr/bin/env python
"""The command line: `python manage.py help`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")
    from helios.stack.commandline import run

    sys.exit(run(sys.argv))
