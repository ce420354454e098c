#!/usr/bin/env python
"""The command line: `python manage.py help`."""

import gc
import os
import sys

if __name__ == "__main__":
    gc.set_threshold(50_000)  # what is loaded stays: looking for rubbish in it was a tenth of a command's start
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")
    from helios import terminal
    from helios.stack.commandline import run

    terminal.run_and_exit(lambda: run(sys.argv))
