"""The terminal of a command: it shows what it can, and may be gone before the command has ended."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from helios.redaction import printable

PLAIN = "helios.plain"  # an error handler, as codecs know them
READER_LEFT = 141  # what a shell reports of a program that SIGPIPE ended
_BOX = range(0x2500, 0x2580)
# One for one, so that columns stay where they are.
_NEAR = str.maketrans("─━╌╍┄┅═\N{EN DASH}—\N{MINUS SIGN}│┃║╎╏→\N{MULTIPLICATION SIGN}·", "----------|||||>x.")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Near characters for those that an encoding lacks; a question mark for the rest."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end].translate(_NEAR).replace("…", "...")
    return "".join(each if each.isascii() else "+" if ord(each) in _BOX else "?" for each in missing), error.end


codecs.register_error(PLAIN, _plain)


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status.

    A stream that is closed swallows what is written; one that knows few characters gets near ones. A reader that
    leaves (`| head`) ends the command without a word, a full disk with a sentence.
    """
    prepare()
    status: object
    try:
        try:
            status = main()
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_left():
            raise  # of another pipe or a socket
        status = READER_LEFT
        _swallow_the_rest()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EIO}:
            raise
        sys.stderr.write(f"The output cannot be written: {error.strerror}\n")
        status = 1
        _swallow_the_rest()
    sys.exit(status)


def shown(text: str) -> str:
    """The text line by line, without anything that a terminal obeys."""
    return "\n".join(map(printable, text.split("\n")))


def prepare() -> None:
    """Make the standard streams take every text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def _reader_left() -> bool:
    """Whether standard output or error is a pipe that nobody reads."""
    streams = select.poll()
    for descriptor in (1, 2):
        streams.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in streams.poll(0))


def _swallow_the_rest() -> None:
    """Standard output goes nowhere, so that the interpreter does not fail at it once more."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
