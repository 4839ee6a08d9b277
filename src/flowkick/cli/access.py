"""``flowkick admin``, ``flowkick key``, ``flowkick connection``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from sqlalchemy import select

from flowkick.auth import service as auth
from flowkick.auth.models import Admin, ApiKey
from flowkick.auth.service import ALL_SCOPES
from flowkick.cli.common import (
    AdminOption,
    AsJson,
    find_admin_id,
    open_database,
    run,
    show,
    show_table,
)
from flowkick.connectors import service as connections
from flowkick.connectors.models import Connection
from flowkick.connectors.service import ApiToken
from flowkick.core.clock import isoformat, system_clock
from flowkick.core.errors import InvalidInput
from flowkick.core.settings import load_settings

admin = typer.Typer(help="Admins: the businesses that use this installation.", no_args_is_help=True)
key = typer.Typer(help="API keys of an admin.", no_args_is_help=True)
connection = typer.Typer(help="Tokens with which ManyChat pushes contacts.", no_args_is_help=True)


@admin.command("create")
def create_admin(name: str, as_json: AsJson = False) -> None:
    """Add an admin with a first API key, which is shown only now.

    Example: flowkick admin create "Café Luna"
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            now = system_clock()
            async with database.system_transaction() as session:
                made = await auth.create_admin(session, name, now)
            async with database.transaction(made.id) as session:
                _, token = await auth.create_key(session, now)
            return {"adminId": made.id, "key": token}

    show(run(work()), as_json=as_json)


@admin.command("list")
def list_admins(as_json: AsJson = False) -> None:
    """List the admins.

    Example: flowkick admin list --json
    """

    async def work() -> list[dict[str, Any]]:
        async with open_database() as database, database.system_reading() as session:
            rows = await session.scalars(select(Admin).order_by(Admin.created_at))
            return [
                {"id": row.id, "name": row.name, "createdAt": isoformat(row.created_at)}
                for row in rows
            ]

    show_table(run(work()), as_json=as_json)


@key.command("create")
def create_key(
    admin_name: AdminOption,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or export; repeat for several.")
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=36_500)] = None,
    as_json: AsJson = False,
) -> None:
    """Add an API key, which is shown only now.

    Example: flowkick key create --admin adm_… --scope read --expires-in-days 30
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            now = system_clock()
            expires = now + timedelta(days=expires_in_days) if expires_in_days else None
            async with database.transaction(admin_id) as session:
                made, token = await auth.create_key(
                    session, now, name=name, scopes=scope or ALL_SCOPES, expires_at=expires
                )
            return {"keyId": made.id, "key": token, "scopes": made.scopes}

    show(run(work()), as_json=as_json)


@key.command("list")
def list_keys(admin_name: AdminOption, as_json: AsJson = False) -> None:
    """List an admin's API keys, without the keys themselves.

    Example: flowkick key list --admin adm_…
    """

    async def work() -> list[dict[str, Any]]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.reading(admin_id) as session:
                return [_key(row) for row in await auth.list_keys(session)]

    show_table(run(work()), as_json=as_json)


@key.command("revoke")
def revoke_key(key_id: str, admin_name: AdminOption, as_json: AsJson = False) -> None:
    """Revoke an API key; it stops at once.

    Example: flowkick key revoke key_… --admin adm_…
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.transaction(admin_id) as session:
                return _key(await auth.revoke_key(session, key_id, system_clock()))

    show(run(work()), as_json=as_json)


def _key(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "hint": f"…{row.hint}",
        "scopes": row.scopes,
        "createdAt": isoformat(row.created_at),
        "expiresAt": isoformat(row.expires_at) if row.expires_at else None,
        "revokedAt": isoformat(row.revoked_at) if row.revoked_at else None,
    }


def _read_api_token(file: Path) -> str:
    try:
        return TypeAdapter(ApiToken).validate_python(file.read_text().strip())
    except ValueError:
        raise InvalidInput(f"{file} holds no key of ManyChat's API: one line, no spaces.") from None


@connection.command("create")
def create_connection(
    admin_name: AdminOption,
    name: Annotated[str, typer.Option(help="What it is for.")] = "ManyChat",
    api_token_file: Annotated[
        Path | None,
        typer.Option(help="A file with a key of ManyChat's API, to read contacts with."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for ManyChat's External Request, which is shown only now.

    Example: flowkick connection create --admin adm_…
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        api_token = None if api_token_file is None else _read_api_token(api_token_file)
        async with open_database(settings) as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.transaction(admin_id) as session:
                made, token = await connections.create_connection(
                    session, settings.key_ring, system_clock(), name, api_token
                )
            return {"connectionId": made.id, "token": token}

    show(run(work()), as_json=as_json)


@connection.command("list")
def list_connections(admin_name: AdminOption, as_json: AsJson = False) -> None:
    """List an admin's connections, without their tokens.

    Example: flowkick connection list --admin adm_…
    """

    async def work() -> list[dict[str, Any]]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.reading(admin_id) as session:
                return [_connection(row) for row in await connections.list_connections(session)]

    show_table(run(work()), as_json=as_json)


@connection.command("revoke")
def revoke_connection(connection_id: str, admin_name: AdminOption, as_json: AsJson = False) -> None:
    """Revoke a connection's token; it stops at once.

    Example: flowkick connection revoke con_… --admin adm_…
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.transaction(admin_id) as session:
                return _connection(
                    await connections.revoke_connection(session, connection_id, system_clock())
                )

    show(run(work()), as_json=as_json)


def _connection(row: Connection) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "hint": f"…{row.hint}",
        "createdAt": isoformat(row.created_at),
        "revokedAt": isoformat(row.revoked_at) if row.revoked_at else None,
    }
