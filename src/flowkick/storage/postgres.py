"""Connections to PostgreSQL, opened in one way for the pool and for LISTEN.

The URL takes libpq's parameters (``?sslmode=verify-full&sslrootcert=…``), as every provider of
PostgreSQL prints them. What the driver does not know, it would send to the server as a setting, or
leave out in silence: what is taken is listed here, and the rest is refused when a process starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from flowkick.core.errors import SettingsError

_VARIABLE: Final = "FLOWKICK_DATABASE_URL"
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
_OF_DRIVER: Final = frozenset(
    {
        *_FILES,
        "dbname",
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "password",
        "port",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "target_session_attrs",
        "user",
    }
)
_OF_SERVER: Final = frozenset({"application_name", "options"})
_OURS: Final = frozenset({"connect_timeout"})
_KNOWN: Final = _OF_DRIVER | _OF_SERVER | _OURS
_APPLICATION_NAME: Final = "flowkick"
# Compiling a plan costs more than it saves on statements as short as ours.
_SETTINGS: Final = {"jit": "off"}
_CONNECT_SECONDS: Final = 10
_IDLE_SINCE: Final = "idle_since"
_TRUSTED_SECONDS: Final = 0.9
"""How long a connection may lie idle before it is asked whether it is still there."""


class Connector:
    """Opens connections to the database of a URL, as its parameters say."""

    def __init__(self, url: URL) -> None:
        """Raises SettingsError where the URL has a parameter that can't be followed."""
        parameters = {name: _single(name, value) for name, value in url.query.items()}
        _check(parameters)
        self._timeout = _seconds(parameters.pop("connect_timeout", None))
        parameters.setdefault("application_name", _APPLICATION_NAME)
        plain = url.set(drivername="postgresql", query=parameters)
        self._dsn = plain.render_as_string(hide_password=False)

    async def __call__(self) -> Any:
        """A new connection of the driver.

        Raises what the driver raises, and SettingsError where it can't make sense of the URL.
        """
        import asyncpg  # noqa: PLC0415  # only PostgreSQL needs it

        try:
            return await asyncpg.connect(
                self._dsn, timeout=self._timeout, server_settings=_SETTINGS
            )
        except asyncpg.ClientConfigurationError as error:
            raise SettingsError(f"{_VARIABLE}: {error}.") from None


def postgres_engine(connect: Connector, size: int) -> AsyncEngine:
    """An engine with at most `size` connections."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,  # people's data and secrets: never in an error or a log
    )
    _ping_idle(engine.sync_engine)
    return engine


def _ping_idle(engine: Engine) -> None:
    """Ask connections that nobody used for a while whether they are still there.

    SQLAlchemy's own ``pool_pre_ping`` asks each time, which is three trips to the server.
    """

    @event.listens_for(engine, "checkin")
    def checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_IDLE_SINCE] = monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if monotonic() - record.info.get(_IDLE_SINCE, monotonic()) < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _single(name: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    raise SettingsError(f"{_VARIABLE} has {name} more than once: leave one.")


def _check(parameters: Mapping[str, str]) -> None:
    unknown = sorted(set(parameters) - _KNOWN)
    if unknown:
        raise SettingsError(
            f"{_VARIABLE} has {', '.join(unknown)}, which can't be followed: leave it out. It takes"
            f" {', '.join(sorted(_KNOWN))}."
        )
    mode = parameters.get("sslmode")
    if mode is not None and mode not in _SSL_MODES:
        raise SettingsError(
            f"{_VARIABLE}: sslmode is one of {', '.join(_SSL_MODES)}, and not {mode}."
        )
    for name in sorted(_FILES.intersection(parameters)):
        try:
            Path(parameters[name]).open("rb").close()
        except OSError as error:
            raise SettingsError(
                f"{_VARIABLE}: {name} names {parameters[name]}, which can't be read"
                f" ({error.strerror})."
            ) from None


def _seconds(given: str | None) -> int:
    if given is None:
        return _CONNECT_SECONDS
    if given.isascii() and given.isdigit() and 1 <= len(given) <= 4 and int(given) > 0:
        return int(given)
    raise SettingsError(f"{_VARIABLE}: connect_timeout is a number of seconds, from 1 to 9999.")
