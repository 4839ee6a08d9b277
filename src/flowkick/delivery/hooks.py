"""What the engine asks of those who know what events mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowkick.delivery.breaker import BreakerPolicy
from flowkick.delivery.coalescing import Merger
from flowkick.delivery.health import Operators


@dataclass(frozen=True, slots=True)
class Hooks:
    """Given to the engine by who wires the process."""

    operators: Operators
    merger: Merger
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
