"""What tests of subscriptions and deliveries share: a server that does not deliver by itself."""

from __future__ import annotations

import pytest

from flowkick.core.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Without the engine: deliveries stay as a test has left them."""
    return settings.model_copy(update={"worker": False})
