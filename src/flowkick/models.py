"""Every table, imported once: what migrations are compared with."""

from __future__ import annotations

from flowkick.auth import models as auth
from flowkick.connectors import models as connectors
from flowkick.delivery import models as delivery
from flowkick.exports import models as exports
from flowkick.history import models as history
from flowkick.http import models as http
from flowkick.importing import models as importing
from flowkick.jobs import models as jobs
from flowkick.privacy import models as privacy
from flowkick.retention import models as retention
from flowkick.storage.base import Base
from flowkick.users import models as users

__all__ = [
    "auth",
    "connectors",
    "delivery",
    "exports",
    "history",
    "http",
    "importing",
    "jobs",
    "metadata",
    "privacy",
    "retention",
    "users",
]

metadata = Base.metadata
