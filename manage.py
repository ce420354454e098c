#!/usr/bin/env python
"""The command line: `python manage.py help`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")
    from helios import terminal
    from helios.stack.commandline import run

    terminal.run_and_exit(lambda: run(sys.argv))
