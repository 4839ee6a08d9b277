"""Whatever is sent, no route fails inside, and each answers as its OpenAPI document says."""

from __future__ import annotations

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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


async def test_nonsense_finds_no_failure_and_no_undocumented_answer(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    await asyncio.to_thread(_fuzz, document, api)


def _fuzz(document: dict[str, object], api: Api) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=api.url)
    tried = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # our own document is sound
        if operation.path in UNDOCUMENTED:
            continue
        _fuzz_operation(operation, api.key)
        tried += 1
    assert tried >= 20


def _fuzz_operation(operation: Any, key: str) -> None:
    strategy = st.one_of(
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
    )

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def run(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=list(CHECKS))

    run()
