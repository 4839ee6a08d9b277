"""What an engine keeps of a delivery between claiming and recording it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowkick.delivery.claimed import Claimed


@dataclass(slots=True)
class Held:
    """A claimed delivery that this engine has not recorded yet."""

    claimed: Claimed
    until: float
    """When its lease ends, on the event loop's clock."""


def moment_of(held: Held) -> datetime | None:
    """When it may be sent, where a limit says so."""
    return held.claimed.not_before
