"""Each type of event has a schema that takes its example and nothing else, and patterns find it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from flowkick.webhooks import payloads
from flowkick.webhooks.catalogue import (
    ALL,
    CATALOGUE,
    GROUPS,
    OPERATIONAL,
    SUBSCRIBABLE,
    check_patterns,
    expand,
    matching_patterns,
)

EVENTS = pytest.mark.parametrize("name", CATALOGUE)


def _accepts(schema: dict[str, Any], body: Any) -> bool:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(body)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a body, those that are free in their keys left out."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in {"customFields", "changes"} and not _is_free_metadata(name, inner):
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _is_free_metadata(name: str, inner: Any) -> bool:
    # A QR code's metadata is whoever made it's own; that of the body has a source.
    return name == "metadata" and isinstance(inner, dict) and "source" not in inner


@EVENTS
def test_an_example_fits_its_schema_and_its_type(name: str) -> None:
    type_ = CATALOGUE[name]
    example = type_.example()
    assert _accepts(type_.json_schema(), example)
    msgspec.convert(example["data"], type_.data_type)
    envelope = msgspec.convert(example, payloads.Envelope)
    assert (envelope.event, envelope.metadata.action) == (name, name.partition(".")[2])


@EVENTS
def test_a_schema_takes_no_other_events_name_or_action(name: str) -> None:
    type_ = CATALOGUE[name]
    for other in {"renamed", *map(payloads.action_of, CATALOGUE)} - {payloads.action_of(name)}:
        example = type_.example()
        example["metadata"]["action"] = other
        assert not _accepts(type_.json_schema(), example)
        assert not _accepts(type_.json_schema(), {**type_.example(), "event": f"user.{other}"})


@EVENTS
def test_a_schema_misses_every_key_that_is_left_out_and_every_one_too_many(name: str) -> None:
    schema = CATALOGUE[name].json_schema()
    example = CATALOGUE[name].example()
    for number, original in enumerate(_objects(example)):
        for key in original:
            changed = copy.deepcopy(example)
            del list(_objects(changed))[number][key]
            assert not _accepts(schema, changed), key
        changed = copy.deepcopy(example)
        list(_objects(changed))[number]["surprise"] = 1
        assert not _accepts(schema, changed), sorted(original)


@EVENTS
def test_a_schema_takes_its_own_event_and_moments_in_one_form_only(name: str) -> None:
    schema = CATALOGUE[name].json_schema()
    example = CATALOGUE[name].example()
    assert not _accepts(schema, {**example, "event": "user.unheard_of"})
    for moment in ("2025-11-06T10:30:00Z", "2025-11-06", "2025-13-06T10:30:00.000Z", None, 1):
        assert not _accepts(schema, {**example, "timestamp": moment}), moment


@EVENTS
def test_a_schema_is_complete_in_itself(name: str) -> None:
    schema = CATALOGUE[name].json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(schema)
    references = set(_references(schema))
    assert references <= {f"#/$defs/{definition}" for definition in schema["$defs"]}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_a_user_of_whom_nothing_is_known_fits_the_schema_too() -> None:
    example = CATALOGUE["user.created"].example()
    user = example["data"]["user"]
    unknown = {key: None if isinstance(value, str) else value for key, value in user.items()}
    unknown |= {"id": user["id"], "tags": [], "customFields": {"color": None}}
    example["data"]["user"] = unknown
    assert _accepts(CATALOGUE["user.created"].json_schema(), example)


def test_everything_but_tests_and_marks_can_be_subscribed_to() -> None:
    marks = {"backfill.started", "backfill.completed"}
    assert set(CATALOGUE) - SUBSCRIBABLE == {"webhook.test", *marks}
    users = {"user.*", "booking.*", "qr.*", "tag.*", "customfield.*"}
    assert users | {"subscription.*", "delivery.*"} == GROUPS


def test_all_stands_for_events_of_users_and_those_of_the_machinery_are_named() -> None:
    assert expand([ALL]) == SUBSCRIBABLE - OPERATIONAL
    assert expand(["subscription.*", "delivery.*"]) == OPERATIONAL
    assert matching_patterns("delivery.failed") == ("delivery.failed", "delivery.*")


def test_patterns_stand_for_their_events_and_events_for_their_patterns() -> None:
    assert expand(["tag.*", "user.created"]) == {"tag.added", "tag.removed", "user.created"}
    assert expand([]) == frozenset()
    assert matching_patterns("user.created") == ("user.created", "user.*", "*")
    for name in SUBSCRIBABLE:
        for pattern in matching_patterns(name):
            assert name in expand([pattern])


def test_known_patterns_are_kept_once_and_in_order() -> None:
    assert check_patterns(["tag.*", "user.created", "tag.*"]) == ["tag.*", "user.created"]


@pytest.mark.parametrize("pattern", ["user.renamed", "webhook.test", "webhook.*", "User.created"])
def test_an_unknown_pattern_is_named_beside_all_that_there_are(pattern: str) -> None:
    with pytest.raises(ValueError, match="unknown event") as refused:
        check_patterns(["user.created", pattern])
    assert pattern in str(refused.value)
    assert all(known in str(refused.value) for known in {*SUBSCRIBABLE, *GROUPS})


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        check_patterns([])
