"""The OpenAPI document holds what those who make clients from it rely on."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from flowkick.app import Process
from flowkick.core.settings import Settings

Document = dict[str, Any]


@pytest.fixture
def document(settings: Settings) -> Document:
    return Process(settings).application().openapi()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_example_fits_its_schema(document: Document) -> None:
    schemas = document["components"]["schemas"]
    examples = [
        (name, example)
        for name, schema in schemas.items()
        for example in schema.get("examples", ())
    ]
    assert len(examples) >= 15
    for name, example in examples:
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(example)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_operation_has_a_name_of_its_own_and_a_typed_answer(document: Document) -> None:
    operations = [
        operation
        for path, item in document["paths"].items()
        if path.startswith("/api/")
        for operation in item.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        for status, answer in operation["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                assert content.get("schema"), (operation["operationId"], status, media_type)
