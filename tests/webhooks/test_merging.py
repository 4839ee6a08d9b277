"""Updates that become one: their bodies joined."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flowkick.webhooks.merging import merge_updates
from flowkick.webhooks.payloads import Change, UserUpdated, encode_event
from flowkick.webhooks.samples import MOMENT, USER

FIELDS = ("firstName", "lastName", "email")
VALUES = st.sampled_from([None, "", "a", "b", "ü", '"quoted"'])


def _bodies(states: list[dict[str, Any]]) -> list[bytes]:
    """The updates that lead from the first of these states to the last."""
    bodies = []
    for number, (before, after) in enumerate(itertools.pairwise(states), 1):
        changes = {
            field: Change(before[field], after[field])
            for field in FIELDS
            if before[field] != after[field]
        }
        user = msgspec.structs.replace(USER, first_name=after["firstName"])
        bodies.append(
            encode_event(
                "user.updated",
                MOMENT,
                UserUpdated(user, changes),
                source="api",
                event_id=f"evt_{number}",
                sequence=number,
            )
        )
    return bodies


_STATES = st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUES)), min_size=3, max_size=9)


@given(_STATES)
def test_changes_lead_from_the_first_old_to_the_last_new(states: list[dict[str, Any]]) -> None:
    bodies = _bodies(states)
    merged = msgspec.json.decode(merge_updates(bodies, "evt_new"))
    first, last = states[0], states[-1]
    assert merged["data"]["changes"] == {
        field: {"old": first[field], "new": last[field]}
        for field in FIELDS
        if first[field] != last[field]
    }
    latest = msgspec.json.decode(bodies[-1])
    assert merged["data"]["user"] == latest["data"]["user"]
    assert merged["timestamp"] == latest["timestamp"]
    assert merged["metadata"] == {
        **latest["metadata"],
        "eventId": "evt_new",
        "supersedes": [f"evt_{number}" for number in range(1, len(states))],
    }


@given(_STATES, st.data())
def test_merging_in_parts_comes_to_the_same(states: list[dict[str, Any]], data: Any) -> None:
    bodies = _bodies(states)
    cut = data.draw(st.integers(1, len(bodies) - 1))
    part = merge_updates(bodies[:cut], "evt_part")
    both = msgspec.json.decode(merge_updates([part, *bodies[cut:]], "evt_new"))
    whole = msgspec.json.decode(merge_updates(bodies, "evt_new"))
    supersedes = both["metadata"].pop("supersedes")
    assert [id_ for id_ in supersedes if id_ != "evt_part"] == whole["metadata"].pop("supersedes")
    assert supersedes[cut] == "evt_part"
    assert both == whole


def test_the_parts_of_a_body_stay_in_their_order() -> None:
    states = [dict.fromkeys(FIELDS, value) for value in ("a", "b", "c")]
    merged = msgspec.json.decode(merge_updates(_bodies(states), "evt_new"))
    assert list(merged) == ["event", "timestamp", "data", "metadata"]
    assert list(merged["data"]) == ["user", "changes"]
