"""What tests share: real servers on loopback, and what to do where the machine lacks something."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test because the machine lacks ``what``; under ``CI`` fail it instead.

    A gate that skips in silence what it was set up to prove is no gate.
    """
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(f"This machine lacks {what}, and CI may not skip.", pytrace=False)
    pytest.skip(f"this machine lacks {what}")
