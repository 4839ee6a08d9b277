"""The states of a delivery, and what leads from one to another: the only place they are written.

pending ──▶ success
   │  └───▶ retrying ──▶ success | failed
   ├──────▶ failed | superseded
   └──────▶ held ──▶ pending | failed
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    HELD = "held"
    SUPERSEDED = "superseded"


WAITING: Final = (DeliveryState.PENDING, DeliveryState.RETRYING)
"""States from which the engine sends."""

FINAL: Final = (DeliveryState.SUCCESS, DeliveryState.FAILED)
"""States that only a resend or a replay leaves."""

UNFINISHED: Final = (*WAITING, DeliveryState.HELD)
"""States that end when the subscription is deleted."""

_SUPERSEDED: Final = "a later update of the same user was sent in its stead"
_FAILED: Final = (
    "no retry is left, the endpoint is gone, the subscription was deleted, or the job that queued"
    " it was cancelled"
)

TRANSITIONS: Final[Mapping[DeliveryState, Mapping[DeliveryState, str]]] = {
    DeliveryState.PENDING: {
        DeliveryState.SUCCESS: "the first attempt got a 2xx",
        DeliveryState.RETRYING: "the first attempt failed and retries are left",
        DeliveryState.FAILED: _FAILED,
        DeliveryState.HELD: "the subscription was deactivated",
        DeliveryState.SUPERSEDED: _SUPERSEDED,
    },
    DeliveryState.RETRYING: {
        DeliveryState.SUCCESS: "a retry got a 2xx",
        DeliveryState.RETRYING: "a retry failed and more are left",
        DeliveryState.FAILED: _FAILED,
        DeliveryState.HELD: "the subscription was deactivated",
        DeliveryState.SUPERSEDED: _SUPERSEDED,
    },
    DeliveryState.HELD: {
        DeliveryState.PENDING: "the subscription was re-activated",
        DeliveryState.FAILED: (
            "what was held was discarded, the subscription was deleted, or the job that queued it"
            " was cancelled"
        ),
    },
    DeliveryState.FAILED: {DeliveryState.SUCCESS: "a manual resend got a 2xx"},
    DeliveryState.SUCCESS: {},
    DeliveryState.SUPERSEDED: {},
}
"""From each state, the states that may follow, and why they do."""
