"""The process that reads a Parquet or Feather file, started by `trading.market.feeds.file_text` and nothing else.

What such a file says of its size is its own word, and a few kilobytes of it, or of its head, may unpack to the
machine's memory. So it is read where the memory has an end. Lists, structures, spans of time and bytes are of use to
nobody, and are left unread.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from datetime import datetime, timedelta
from typing import IO, Final

import polars as pl

MEMORY: Final = 3 * 2**30
MAX_BYTES: Final = 2**30  # of the columns of use, unpacked
MAX_COLUMNS: Final = 1_000
LONGEST: Final = 200  # letters of a name, or a reason, that is said
READ_S: Final = 60  # of work; 80,000,000 values take three
WAIT_S: Final = 120
DAY_S: Final = 86_400
POSSIBLE: Final = (datetime(1, 1, 2), datetime(9999, 12, 1))  # noqa: DTZ001 - naive, as what is read is
_USELESS: Final = (pl.Binary, pl.Object, pl.Duration)
TOO_LARGE: Final = "too large"
TOO_MANY: Final = "too many columns"


def useful(schema: pl.Schema) -> list[str]:
    """The columns of a time, a number, a truth or text."""
    return [name for name, kind in schema.items() if not kind.is_nested() and kind not in _USELESS]


def read(lazy: pl.LazyFrame, schema: pl.Schema) -> pl.DataFrame:
    """The columns of use; text that is kept as a number for each of its words is text, an impossible time is null."""
    words = [pl.col(name).cast(pl.String) for name, kind in schema.items() if kind in (pl.Categorical, pl.Enum)]
    times = [_possible(name, kind) for name, kind in schema.items() if kind in (pl.Datetime, pl.Date, pl.Time)]
    return lazy.select(useful(schema)).with_columns(words + times).collect()


def _possible(name: str, kind: pl.DataType) -> pl.Expr:
    """A column of times without those that no calendar has, at which polars itself would end the process."""
    first, last = ((each - datetime(1970, 1, 1)) // timedelta(seconds=1) for each in POSSIBLE)  # noqa: DTZ001 - as they
    ticks = pl.col(name).to_physical()
    if isinstance(kind, pl.Datetime):
        a_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[kind.time_unit]
        there = ticks.cast(pl.Int128).is_between(first * a_second, last * a_second)
    elif kind == pl.Date:
        there = ticks.is_between(first // DAY_S, last // DAY_S)
    else:
        there = ticks.is_between(0, DAY_S * 10**9 - 1)
    return pl.when(there).then(pl.col(name))


def scan(file: IO[bytes], kind: str) -> pl.LazyFrame:
    """The file, of which nothing but its head is read yet."""
    return pl.scan_parquet(file) if kind == ".parquet" else pl.scan_ipc(file)


def main(kind: str) -> None:
    """Read the file from standard input, and write the columns of use as an Arrow file, which unpacks to its size.

    What it says last is the names of the others, as JSON, or why there is no such file.
    """
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (READ_S, READ_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        lazy = scan(io.BytesIO(sys.stdin.buffer.read()), kind)
        schema = lazy.collect_schema()
        if len(schema) > MAX_COLUMNS:
            sys.exit(TOO_MANY)
        frame = read(lazy, schema)
        if frame.estimated_size() > MAX_BYTES:
            sys.exit(TOO_LARGE)
        frame.write_ipc(sys.stdout.buffer, compression="uncompressed")
        sys.stderr.write(json.dumps([name[:LONGEST] for name in schema if name not in frame.columns]))
    except (pl.exceptions.PolarsError, OSError) as error:
        sys.exit(" ".join(str(error).splitlines()[:1])[:LONGEST] or type(error).__name__)


if __name__ == "__main__":
    main(sys.argv[1])
