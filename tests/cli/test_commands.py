"""The commands, run as anyone runs them: real processes, their output, their exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from flowkick.delivery.signing import new_secret, signed_headers
from tests.conftest import MASTER_KEY
from tests.support.commands import Machine
from tests.support.ports import free_port


async def test_admins_and_keys_are_made_listed_and_revoked(machine: Machine) -> None:
    migrated = await machine.run("migrate", "--json")
    assert migrated.json()["from"] is None
    admin = (await machine.run("admin", "create", "Café Luna", "--json")).json()
    assert sorted(admin) == ["adminId", "key"]
    made = (await machine.run("key", "create", "--admin", "Café Luna", "--json")).json()
    keys = (await machine.run("key", "list", "--admin", admin["adminId"], "--json")).json()
    assert len(keys) == 2
    assert admin["key"] not in json.dumps(keys)
    arguments = ("key", "revoke", made["keyId"], "--admin", admin["adminId"])
    assert (await machine.run(*arguments)).code == 0
    keys = (await machine.run("key", "list", "--admin", admin["adminId"], "--json")).json()
    assert [bool(key["revokedAt"]) for key in keys] == [False, True]


async def test_connections_are_made_listed_and_revoked(machine: Machine) -> None:
    await machine.run("migrate")
    admin_id = (await machine.run("admin", "create", "A", "--json")).json()["adminId"]
    of = ("--admin", admin_id, "--json")
    made = (await machine.run("connection", "create", *of)).json()
    assert sorted(made) == ["connectionId", "token"]
    listed = await machine.run("connection", "list", *of)
    (row,) = listed.json()
    assert (row["id"], row["revokedAt"]) == (made["connectionId"], None)
    assert made["token"] not in listed.out
    revoked = (await machine.run("connection", "revoke", made["connectionId"], *of)).json()
    assert revoked["revokedAt"]


async def test_one_admin_revokes_nothing_of_anothers(machine: Machine) -> None:
    await machine.run("migrate")
    mine, theirs = [
        (await machine.run("admin", "create", name, "--json")).json()["adminId"]
        for name in ("Mine", "Theirs")
    ]
    made = (await machine.run("connection", "create", "--admin", theirs, "--json")).json()
    key = (await machine.run("key", "list", "--admin", theirs, "--json")).json()[0]["id"]
    for kind, id_ in (("key", key), ("connection", made["connectionId"])):
        ended = await machine.run(kind, "revoke", id_, "--admin", mine)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        (row,) = (await machine.run(kind, "list", "--admin", theirs, "--json")).json()
        assert row["revokedAt"] is None


async def test_an_open_address_that_trusts_the_header_is_not_served(bare: Machine) -> None:
    ended = await bare.run(
        *("serve", "--host", "0.0.0.0", "--port", "0"), FLOWKICK_TRUST_ADMIN_HEADER="true"
    )
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert "FLOWKICK_TRUSTED_PROXIES" in ended.err
    assert list(bare.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("key", "create", "--scope", "everything"), 1),
        (("key", "create", "--expires-in-days", "0"), 2),
        (("key", "revoke", "key_0"), 1),
        (("connection", "revoke", "con_0"), 1),
        (("connection", "create", "--name", " "), 1),
        (("connection", "create", "--name", "x" * 256), 1),
        (("key", "create", "--name", "x" * 256), 1),
        (("key", "create", "--name", "\udcff"), 1),
        (("connection", "create", "--name", "\udcff"), 1),
        (("connection", "list", "--admin", "\udcff"), 1),
        (("connection", "revoke", "\udcff"), 1),
    ],
)
async def test_what_a_command_can_not_take_is_one_line(
    bare: Machine, arguments: tuple[str, ...], status: int
) -> None:
    await bare.run("admin", "create", "A")
    ended = await bare.run(*arguments[:2], "--admin", "A", *arguments[2:])
    assert (ended.code, "Traceback" in ended.err) == (status, False), ended.out + ended.err
    assert ended.out == ""


async def test_a_server_says_when_it_is_ready_and_ends_well_without_telling_secrets(
    machine: Machine,
) -> None:
    await machine.run("migrate")
    admin = (await machine.run("admin", "create", "A", "--json")).json()
    port = free_port()
    process = await machine.start("serve", "--port", str(port), FLOWKICK_LOG_LEVEL="debug")
    base = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {admin['key']}"}
    hook = {"url": "http://127.0.0.1:9/", "events": ["*"], "headers": {"X-Api": "hush-hush-hush"}}
    async with httpx.AsyncClient(base_url=base, headers=headers) as http:
        async with asyncio.timeout(30):
            while True:
                try:
                    ready = await http.get("/readyz")
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
        assert ready.json()["status"] == "ready"
        secret = (await http.post("/api/admin/webhooks", json=hook)).json()["webhook"]["secret"]
        token = (await http.post("/api/admin/connections", json={})).json()["token"]
        await http.post("/api/admin/users", json={"firstName": "Zaphod"})
        await http.post("/api/admin/webhooks", json={**hook, "url": f"http://{secret}@x/"})
        taken = await machine.run("serve", "--port", str(port))
    assert (taken.code, taken.err.count("\n")) == (1, 1)
    assert "--port" in taken.err
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    for private in (admin["key"], secret, token, "hush-hush-hush", "Zaphod", MASTER_KEY):
        assert private.encode() not in err
    for file in machine.folder.glob("flowkick.db*"):
        content = file.read_bytes()
        for private in (admin["key"], secret, token, "hush-hush-hush"):
            assert private.encode() not in content, file.name


async def test_an_event_is_triggered_and_users_are_seeded(machine: Machine) -> None:
    await machine.run("migrate")
    await machine.run("admin", "create", "A")
    triggered = await machine.run("trigger", "booking.created", "--admin", "A", "--json")
    assert triggered.json()["deliveries"] == 0
    unknown = await machine.run("trigger", "booking.eaten", "--admin", "A")
    assert (unknown.code, "booking.created" in unknown.err) == (1, True)
    command = ("seed", "--admin", "A", "--users", "30", "--json")
    seeded = (await machine.run(*command)).json()
    assert {name: seeded[name] for name in ("created", "bookings", "qrCodes")} == {
        "created": 30,
        "bookings": 3,
        "qrCodes": 3,
    }
    again = (await machine.run(*command)).json()
    assert (again["unchanged"], again["bookings"], again["qrCodes"]) == (30, 0, 0)
    silent = (await machine.run(*command, "--seed", "8", "--silent")).json()
    assert (silent["created"], silent["bookings"]) == (30, 0)


async def test_the_doctor_finds_what_is_wrong(machine: Machine) -> None:
    await machine.run("migrate")
    assert (await machine.run("doctor")).code == 0
    trusting = {"FLOWKICK_TRUST_ADMIN_HEADER": "true", "FLOWKICK_HOST": "0.0.0.0"}
    for broken in (
        trusting,
        {"FLOWKICK_PORT": "many"},
        {"FLOWKICK_SECRET_KEY": "short"},
        {"FLOWKICK_DATABASE_URL": "mysql://x"},
        {"FLOWKICK_DATABASE_URL": "sqlite:////nowhere/at/all.db"},
        {"FLOWKICK_DATABASE_URL": "postgresql://x@127.0.0.1:9/x"},
    ):
        elsewhere = replace(machine, environment={**machine.environment, **broken})
        ended = await elsewhere.run("doctor")
        assert ended.code == 1, broken
        assert "✗" in ended.out
        assert "Traceback" not in ended.err


async def test_sqlite_needs_no_settings_and_has_no_second_worker(bare: Machine) -> None:
    assert (await bare.run("admin", "create", "A")).code == 0
    assert (bare.folder / "flowkick.db.key").exists() is False
    assert (await bare.run("rekey")).code == 0
    assert (bare.folder / "flowkick.db.key").stat().st_mode & 0o777 == 0o600
    worker = await bare.run("worker")
    assert (worker.code, "PostgreSQL" in worker.err) == (1, True)


async def test_postgresql_without_a_master_key_is_refused(bare: Machine) -> None:
    ended = await bare.run("serve", FLOWKICK_DATABASE_URL="postgresql://x@127.0.0.1:9/x")
    assert (ended.code, "FLOWKICK_SECRET_KEY" in ended.err) == (1, True)


async def test_signatures_are_checked_from_the_shell(bare: Machine) -> None:
    secret, body = new_secret(), b'{"a":1}'
    headers = signed_headers(
        event="user.created",
        message_id="evt_1",
        payload_timestamp="2025-11-06T10:30:00.000Z",
        attempt=1,
        body=body,
        secrets=[secret],
        at=datetime.now(UTC),
    )
    simple = ("verify", "--secret", secret, "--signature", headers["X-Webhook-Signature"])
    assert (await bare.run(*simple, stdin=body)).code == 0
    assert (await bare.run(*simple, "-", stdin=body)).code == 0
    (bare.folder / "body.json").write_bytes(body)
    assert (await bare.run(*simple, "body.json")).code == 0
    assert (await bare.run(*simple, stdin=body + b" ")).code == 1
    standard = (
        *("verify", "--secret", secret, "--signature", headers["webhook-signature"]),
        *("--id", "evt_1", "--timestamp", headers["webhook-timestamp"]),
    )
    assert (await bare.run(*standard, stdin=body)).code == 0
    assert (await bare.run(*standard, "--id", "evt_2", stdin=body)).code == 1
    late = await bare.run(*standard, "--timestamp", "1762425000", stdin=body)
    assert (late.code, "webhook-timestamp" in late.err) == (1, True)


async def test_misuse_ends_with_two(bare: Machine) -> None:
    verify = ("verify", "--signature", "aa", "--secret")
    for arguments in (
        ("serve", "--no-such"),
        ("key", "create"),
        ("no-such",),
        (*verify, "whsec_!!!"),
        (*verify, "ü"),
        (*verify, "aa", "--id", "evt_1"),
        (*verify, "aa", "no-such-file"),
        ("listen", "--secret", "whsec_!!!"),
    ):
        assert (await bare.run(*arguments)).code == 2


async def test_the_demo_shows_verified_webhooks_and_ends_by_itself(bare: Machine) -> None:
    ended = await bare.run("demo", "--port", str(free_port()), "--for", "1")
    assert ended.code == 0, ended.err
    for event in ("user.created", "user.updated", "tag.added", "customfield.updated"):
        assert f"{event}  attempt 1  ✓ signature verified" in ended.out
    assert "X-Admin-ID" in ended.out
    assert "Traceback" not in ended.err


async def test_the_demo_ends_well_at_ctrl_c_and_names_a_taken_port(bare: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = await bare.run("demo", "--port", str(taken.getsockname()[1]))
    assert (ended.code, "--port" in ended.err) == (1, True)
    process = await bare.start("demo", "--port", str(free_port()))
    assert process.stdout is not None
    while b"Ctrl-C" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"Ended" in out, b"Traceback" in err) == (0, True, False)


async def test_the_demo_ends_when_nobody_reads_it_any_more(bare: Machine) -> None:
    process = await bare.start("demo", "--port", "0", "--for", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # as head(1)
    err = await asyncio.wait_for(process.stderr.read(), 60)
    assert (await process.wait(), b"Traceback" in err) == (1, False)
