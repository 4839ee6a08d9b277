"""Whatever is sent, no route fails inside, and each answers as its OpenAPI document says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.support.server import Api

EXAMPLES = 12
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
# Prometheus reads its own text format, which the document leaves to it.
UNDOCUMENTED = {"/metrics"}
PATIENT = {str(seconds) for seconds in range(1, 31)}
"""Waiting for what does not come proves nothing here."""


HOOK = {"url": "http://127.0.0.1:9/hook", "events": ["*"], "headers": {"X-A": "1"}}
USER = {"firstName": "Ada", "tags": ["vip"], "customFields": {"drink": "tea"}}


@pytest_asyncio.fixture
async def process(settings: Settings, database: Database) -> Process:
    # An engine that retries draws jitter from `random`, whose state Hypothesis guards.
    return Process(settings.model_copy(update={"worker": False}))


async def test_nonsense_finds_no_failure_and_no_undocumented_answer(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    await asyncio.to_thread(_fuzz, document, api, [_key(api)], {})


async def test_nonsense_about_what_exists_finds_none_either(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    await asyncio.to_thread(_fuzz, document, api, [_key(api)], MAKERS)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nonsense_of_nobody_is_answered_as_documented(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    garbage = [{}, {"Authorization": "Bearer fk_no"}, {"X-Admin-ID": api.admin_id}]
    await asyncio.to_thread(_fuzz, document, api, garbage, {})


def _key(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.key}"}


def _webhook(http: httpx.Client) -> str:
    made = http.post("/api/admin/webhooks", json=HOOK)
    return str(made.json()["webhook"]["id"])


def _delivery(http: httpx.Client) -> str:
    webhook_id = _webhook(http)
    _user(http)
    shown = http.get(f"/api/admin/webhooks/{webhook_id}").json()["webhook"]
    return str(shown["deliveries"][0]["id"])


def _user(http: httpx.Client) -> str:
    return str(http.post("/api/admin/users", json=USER).json()["user"]["id"])


def _tool(http: httpx.Client) -> str:
    return str(http.post("/api/admin/tools", json={"name": "Table"}).json()["tool"]["id"])


def _booking(http: httpx.Client) -> str:
    who = {"userId": _user(http), "toolId": _tool(http)}
    when = {"startTime": "2026-03-01T18:00Z", "endTime": "2026-03-01T20:00Z"}
    return str(http.post("/api/admin/bookings", json=who | when).json()["booking"]["id"])


def _qr_code(http: httpx.Client) -> str:
    body = {"userId": _user(http), "metadata": {"a": 1}}
    return str(http.post("/api/admin/qr-codes", json=body).json()["qrCode"]["code"])


def _conversation(http: httpx.Client) -> str:
    begun = http.post("/api/admin/conversations", json={"userId": _user(http)})
    return str(begun.json()["conversation"]["id"])


def _connection(http: httpx.Client) -> str:
    return str(http.post("/api/admin/connections", json={}).json()["connection"]["id"])


def _erasure(http: httpx.Client) -> str:
    erased = http.delete(f"/api/admin/users/{_user(http)}")
    return str(erased.json()["erasure"]["id"])


def _export(http: httpx.Client) -> str:
    return str(http.get("/api/admin/export/users/csv").headers["X-Export-ID"])


def _job(http: httpx.Client, webhook_id: str, kind: str) -> str:
    begun = http.post(f"/api/admin/webhooks/{webhook_id}/{kind}", json={})
    return str(begun.json()[kind]["id"])


Makers = Mapping[str, Callable[[httpx.Client], str]]
MAKERS: Makers = {
    "/webhooks/{id}": _webhook,
    "/deliveries/{id}": _delivery,
    "/users/{id}": _user,
    "/connections/{id}": _connection,
    "/tools/{id}": _tool,
    "/bookings/{id}": _booking,
    "/qr-codes/{code}": _qr_code,
    "/conversations/{id}": _conversation,
    "/erasures/{id}": _erasure,
    "/exports/{id}": _export,
}


def _fuzz(
    document: dict[str, object], api: Api, headers: list[dict[str, str]], makers: Makers
) -> None:
    """Try every operation; with `makers`, only those that name a thing, on one that is there."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=api.url)
    tried = 0
    with httpx.Client(base_url=api.url, headers=_key(api), timeout=30) as http:
        for result in schema.get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]  # our own document is sound
            path = operation.path
            if path in UNDOCUMENTED or (makers and "{" not in path):
                continue
            made = [make(http) for part, make in makers.items() if part in path]
            assert len(made) == bool(makers), f"nothing makes what {path} names"
            if made and "{jobId}" in path:
                made.append(_job(http, made[0], "replay" if "replays" in path else "backfill"))
            _fuzz_operation(operation, headers, made)
            tried += 1
    assert tried >= (10 if makers else 20)


def _fuzz_operation(operation: Any, headers: list[dict[str, str]], made: list[str]) -> None:
    strategy = st.one_of(
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
    )
    answered = set()

    @given(case=strategy, sent=st.sampled_from(headers))
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def run(case: Any, sent: dict[str, str]) -> None:
        for thing in made:
            name = "jobId" if thing.startswith("job_") else "id"
            case.path_parameters["code" if "{code}" in operation.path else name] = thing
        if str((case.query or {}).get("wait", "")) in PATIENT:
            case.query["wait"] = 0
        answer = case.call_and_validate(headers=sent, checks=list(CHECKS))
        answered.add(answer.status_code)

    run()
    assert not made or answered & {200, 201, 202}, f"{operation.label}: {answered}"
