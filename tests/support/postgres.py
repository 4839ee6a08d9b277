"""A PostgreSQL of the tests' own: a temporary cluster on loopback, gone when they end."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tests.support.certificates import Certificate
from tests.support.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

OLDEST_MAJOR: Final = 14
SUPERUSER: Final = "flowkick"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 60
STOP_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# Where servers lie that are not on PATH: Debian, Homebrew (ARM, Intel), the upstream RPMs.
SERVER_FOLDERS: Final = (
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/pgsql-*/bin",
)


class PostgresError(RuntimeError):
    """PostgreSQL did not do as told; the message ends with what it printed."""


@dataclass(frozen=True)
class Binaries:
    """The folder of one installed server's programs."""

    folder: Path
    major: int

    def __getitem__(self, name: str) -> str:
        """The path of a program; clients may lie on PATH instead."""
        here = self.folder / name
        return str(here) if here.exists() else shutil.which(name) or str(here)


def find_binaries() -> Binaries | None:
    """The newest PostgreSQL server on this machine; None where there is none new enough."""
    found = [binaries for folder in _server_folders() if (binaries := _binaries_in(folder))]
    return max(found, key=lambda binaries: binaries.major, default=None)


def _server_folders() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    if pg_config := shutil.which("pg_config"):
        told = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            yield Path(told.stdout.strip())
    for pattern in SERVER_FOLDERS:
        yield from Path("/").glob(pattern.lstrip("/"))


def _binaries_in(folder: Path) -> Binaries | None:
    if not all((folder / name).exists() for name in ("initdb", "postgres")):
        return None
    version = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    major = re.search(r"\) (\d+)", version.stdout)
    if major is None or int(major[1]) < OLDEST_MAJOR:
        return None
    return Binaries(folder, int(major[1]))


def _server_account() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses root. None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    message = "PostgreSQL refuses to run as root, and there is no user postgres or nobody."
    raise PostgresError(message)


class Cluster:
    """A private cluster: TCP on 127.0.0.1 alone, no passwords, its files in a temporary folder.

    ``durable`` makes commits survive a crash as in production (``fsync``, ``synchronous_commit``);
    without it a test suite runs several times faster. ``settings`` override any server setting.
    With ``tls``, it speaks TLS to whoever asks for it. The port, and so every URL, stays the same
    over restarts.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        tls: Certificate | None = None,
    ) -> None:
        """Prepare a cluster; nothing runs, and nothing is written, before ``start``."""
        binaries = find_binaries()
        if binaries is None:
            message = f"No PostgreSQL server of version {OLDEST_MAJOR} or newer was found."
            raise PostgresError(message)
        self.binaries = binaries
        self.port = free_port()
        self._account = _server_account()
        self._settings = {**_server_settings(durable=durable), **(settings or {})}
        self._tls = tls
        if tls is not None:
            self._settings["ssl"] = "on"
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the cluster."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the cluster and remove its files."""
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start the server, make its files first if there are none, and wait until it answers."""
        if self.running:
            return
        folder = self._folder or self._initialise()
        settings = (f"--{name}={value}" for name, value in self._settings.items())
        command = [self.binaries["postgres"], "-D", str(folder / "data"), *settings]
        with (folder / "server.log").open("ab") as log:
            # A session of its own: Ctrl-C ends the tests, and these then end the server.
            self._server = subprocess.Popen(
                [*command, f"--port={self.port}"],
                stdout=log,
                stderr=log,
                cwd=folder,
                user=self._account and self._account.pw_uid,
                group=self._account and self._account.pw_gid,
                extra_groups=None if self._account is None else [],
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: ``fast`` ends its sessions in order, ``immediate`` is like a crash."""
        if self._server is None:
            return
        if self.running:
            self._server.send_signal(STOP_SIGNALS[mode])
        self._server.wait(STOP_SECONDS)
        self._server = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start, on the same port with the same files."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop("immediate")
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def url(self, database: str) -> str:
        """The address of a database, as the settings take it."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make a database and return its URL.

        Without a name it gets one of its own. ``template`` names a database to copy, which is
        faster than migrating anew; nobody may be connected to it meanwhile.
        """
        name = name or f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, by its name or URL, with the sessions it still has."""
        name = name.rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def execute(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL with psql; return its rows, one a line, columns separated by ``|``."""
        command = [self.binaries["psql"], "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return _run([*command, self.url(database)]).rstrip("\n")

    def log(self) -> str:
        """What the server has printed so far."""
        if self._folder is None:
            return ""
        return (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def _initialise(self) -> Path:
        # Not pytest's tmp_path: its parents are closed to the user that the server runs as.
        folder = Path(tempfile.mkdtemp(prefix="flowkick-postgres-"))
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        ctype = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", f"--lc-ctype={ctype}"]
        _run(
            [
                self.binaries["initdb"],
                f"--pgdata={folder / 'data'}",
                f"--username={SUPERUSER}",
                *options,
                "--no-sync",
            ],
            cwd=folder,
            account=self._account,
        )
        if self._tls is not None:
            self._write(folder / "data" / "server.crt", self._tls.certificate)
            self._write(folder / "data" / "server.key", self._tls.key)
        self._folder = folder
        return folder

    def _write(self, path: Path, content: bytes) -> None:
        """A file of the server's own that nobody else may read."""
        path.touch(0o600)
        path.write_bytes(content)
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _wait_until_it_answers(self) -> None:
        ask = [self.binaries["pg_isready"], "-q", "-h", LOOPBACK, "-p", str(self.port)]
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(ask, check=False).returncode != 0:
            if not self.running or time.monotonic() > deadline:
                message = f"PostgreSQL did not start:\n{self.log()}"
                raise PostgresError(message)
            time.sleep(0.02)


def _server_settings(*, durable: bool) -> dict[str, str]:
    switch = "on" if durable else "off"
    return {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_connections": "200",
        "fsync": switch,
        "synchronous_commit": switch,
        "full_page_writes": switch,
        "autovacuum_naptime": "10s",
        # Compiling a plan costs more than it saves on the small tables of tests.
        "jit": "off",
        "timezone": "UTC",
    }


def _run(
    command: list[str], *, cwd: Path | None = None, account: pwd.struct_passwd | None = None
) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=cwd,
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=None if account is None else [],
    )
    if done.returncode != 0:
        message = f"{Path(command[0]).name} failed ({done.returncode}):\n{done.stdout}"
        raise PostgresError(message)
    return done.stdout


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
