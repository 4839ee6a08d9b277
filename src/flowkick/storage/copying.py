"""COPY out of PostgreSQL: the rows of a statement as the bytes that the server makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

_PART: Final = 1 << 18
# The server sends 8 KiB at a time. To wake for each would cost more than all else here; while
# nothing is read, they gather in the connection.
_GATHERED_SECONDS: Final = 0.002


async def copy_out(
    session: AsyncSession,
    statement: Select[Any],
    take: Callable[[bytes], Awaitable[None]],
    **form: str,
) -> None:
    """Give `take` the rows as COPY's CSV, in parts of some 256 KiB; `form` are options of COPY.

    It is read in the session's transaction, and no faster than it is taken. A part may end
    anywhere in a row. The statement has its scope in itself, and all that callers gave it in
    parameters: the driver puts these into the text by the server's own rules, wherever that has
    `$1` and so on. Where it fails or is cancelled, the session has lost its connection.
    """
    import asyncpg  # noqa: PLC0415  # only PostgreSQL needs it

    connection = await session.connection()
    compiled: Any = statement.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    values = [compiled.params[name] for name in compiled.positiontup]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins one with its first statement
        await connection.exec_driver_sql("SELECT 1")
    gathered = bytearray()

    async def gather(data: bytes) -> None:
        gathered.extend(data)
        if len(gathered) < _PART:
            await asyncio.sleep(_GATHERED_SECONDS)
            return
        part = bytes(gathered)
        gathered.clear()
        await take(part)

    try:
        await driver.copy_from_query(str(compiled), *values, output=gather, format="csv", **form)
    except BaseException as error:
        # Where the answer ends is not known any more, so nothing can follow it here.
        driver.terminate()
        await connection.invalidate()
        if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)):
            raise DBAPIError("COPY", None, error, hide_parameters=True) from error
        raise
    if gathered:
        await take(bytes(gathered))
