"""The doctor finds each kind of fault, and changes nothing; secrets move to another key."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from flowkick.connectors.models import Connection
from flowkick.connectors.service import api_token_context
from flowkick.core.clock import system_clock
from flowkick.core.encryption import KeyRing
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.requests import headers_context, secret_context
from flowkick.http.idempotency import answer_context
from flowkick.http.models import IdempotencyKey
from flowkick.storage.database import Database
from flowkick.users.batch import upsert_batch
from flowkick.users.models import User
from flowkick.users.search import REBUILD
from tests.conftest import MASTER_KEY, new_admin
from tests.support import factories
from tests.support.commands import Machine

NEW_KEY = "fedcba9876543210" * 2


async def findings(machine: Machine, **more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ended = await machine.with_settings(**more).run("doctor", "--json")
    assert "Traceback" not in ended.err
    return ended.code, {item["check"]: item for item in ended.json()}


async def _subscription(database: Database, settings: Settings) -> str:
    admin_id, _ = await new_admin(database)
    keys = settings.key_ring
    made = await factories.create_subscription(database, keys, admin_id, "http://127.0.0.1:9/")
    async with database.system_transaction() as session:
        connection = Connection(
            id="con_1",
            admin_id=admin_id,
            kind="manychat",
            name="ManyChat",
            token_hash="hash",
            hint="hint",
            api_token=keys.seal("of the API", api_token_context("con_1")),
            api_token_hint="hint",
            created_at=system_clock(),
        )
        session.add(connection)
        row = await session.get(WebhookSubscription, made)
        assert row is not None
        row.former_secrets = [
            {
                "secret": keys.seal("former", secret_context(made)),
                "until": "2026-01-01T00:00:00.000Z",
            }
        ]
        row.headers = keys.seal('{"X-Api": "hush"}', headers_context(made))
        session.add(
            IdempotencyKey(
                admin_id=admin_id,
                key="one",
                request_hash="hash",
                status=201,
                answer=keys.seal("an answer", answer_context(admin_id, "one")),
                created_at=system_clock(),
            )
        )
    return made


async def test_secrets_that_do_not_open_are_counted(
    machine: Machine, database: Database, settings: Settings
) -> None:
    await _subscription(database, settings)
    code, found = await findings(machine, FLOWKICK_SECRET_KEY=NEW_KEY)
    assert (code, found["secrets"]["ok"]) == (1, False)
    assert "5 of 5" in found["secrets"]["says"]
    assert found["database"]["ok"]


async def test_stored_secrets_move_to_a_new_key(
    machine: Machine, database: Database, settings: Settings
) -> None:
    made = await _subscription(database, settings)
    both = f"{NEW_KEY},{MASTER_KEY}"
    code, found = await findings(machine, FLOWKICK_SECRET_KEY=both)
    assert (code, "5 of 5 are under a former key" in found["secrets"]["says"]) == (0, True)
    rekeyed = await machine.run("rekey", "--json", FLOWKICK_SECRET_KEY=both)
    assert rekeyed.json()["reencrypted"] == 5
    again = await machine.run("rekey", "--json", FLOWKICK_SECRET_KEY=both)
    assert again.json()["reencrypted"] == 0
    code, found = await findings(machine, FLOWKICK_SECRET_KEY=NEW_KEY)
    assert (code, found["secrets"]["says"]) == (0, "5 can be opened")
    row, keys = await factories.subscription(database, made), KeyRing([NEW_KEY])
    assert keys.open(row.secret, secret_context(made)) == factories.SECRET
    (former,) = row.former_secrets
    assert keys.open(former["secret"], secret_context(made)) == "former"
    async with database.system_reading() as session:
        (answer,) = await session.scalars(select(IdempotencyKey))
        (connection,) = await session.scalars(select(Connection))
    assert keys.open(connection.api_token or "", api_token_context("con_1")) == "of the API"
    assert keys.open(answer.answer, answer_context(answer.admin_id, "one")) == "an answer"
    assert keys.open(row.headers or "", headers_context(made)) == '{"X-Api": "hush"}'


async def test_an_older_database_is_told_of(machine: Machine, database: Database) -> None:
    async with database.writer.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM alembic_version")
    code, found = await findings(machine)
    assert (code, found["migrations"]["ok"]) == (1, False)
    assert "flowkick migrate" in found["migrations"]["says"]


async def test_the_doctor_makes_nothing(bare: Machine) -> None:
    code, found = await findings(bare)
    assert (code, all(item["ok"] for item in found.values())) == (0, True)
    assert list(bare.folder.iterdir()) == []


async def test_a_lost_key_file_is_told_of(
    bare: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bare.run("migrate")
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/flowkick.db")
    database = Database(settings)
    await _subscription(database, settings)
    await database.close()
    code, found = await findings(bare)
    assert code == 0
    settings.key_file.chmod(0o644)
    code, found = await findings(bare)
    assert (code, "chmod 600" in found["secret key"]["says"]) == (1, True)
    settings.key_file.unlink()
    code, found = await findings(bare)
    assert (code, found["secrets"]["ok"]) == (1, False)
    assert not settings.key_file.exists()


async def test_a_database_that_is_none_is_one_line(bare: Machine) -> None:
    (bare.folder / "flowkick.db").write_text("no database, but a text of some length\n" * 50)
    assert (await findings(bare))[0] == 1
    for command in (("admin", "list"), ("migrate",), ("serve", "--port", "0")):
        ended = await bare.run(*command)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_index_of_search_that_lost_the_users_is_told_of(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, _ = await new_admin(database)
    people = [{"manychatId": str(n), "firstName": f"Person{n}"} for n in range(5)]
    async with database.transaction(admin_id) as session:
        await upsert_batch(session, people, source="api", now=system_clock())
        await session.execute(delete(User).where(User.manychat_id == "2"))
    with sqlite3.connect(str(settings.sqlite_path), isolation_level=None) as connection:
        connection.execute("VACUUM")  # which leaves the numbers of rows alone
        code, found = await findings(machine)
        assert (code, found["search"]["ok"]) == (0, True)
        connection.execute("""INSERT INTO "UserSearch"("UserSearch") VALUES ('delete-all')""")
        code, found = await findings(machine)
        assert (code, found["search"]["ok"]) == (1, False)
        connection.execute(REBUILD)
    connection.close()
    code, found = await findings(machine)
    assert REBUILD in (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    assert (code, found["search"]["ok"]) == (0, True)
