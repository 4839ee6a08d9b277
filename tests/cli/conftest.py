"""Machines on which commands are run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MASTER_KEY
from tests.support.commands import Machine


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    return Machine(
        tmp_path,
        {
            **environment,
            "FLOWKICK_DATABASE_URL": database_url,
            "FLOWKICK_SECRET_KEY": MASTER_KEY,
            "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        },
    )


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine with no settings at all: SQLite in the working directory."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    return Machine(tmp_path, environment)
