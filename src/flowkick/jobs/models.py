"""The table of jobs: what is to be done, how far it has come, and who is at it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base, Json


class JobStatus(StrEnum):
    """Where a job stands: queued → running → completed, failed or cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


class Job(AdminScoped, Base):
    """One piece of long work for an admin.

    `due_at` is when a worker may take it: at once where it is queued, when its lease ends where it
    is running, never (null) where it is finished. `attempts` counts how often it was taken since
    it last came a step further. `progress` is what its handler keeps with each step.
    """

    __tablename__ = "Job"
    __table_args__ = (
        Index(
            None,
            "dueAt",
            sqlite_where=text('"dueAt" IS NOT NULL'),
            postgresql_where=text('"dueAt" IS NOT NULL'),
        ),
        Index(None, "adminId", "kind", "createdAt", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    kind: Mapped[str] = mapped_column("kind")
    status: Mapped[str] = mapped_column("status")
    input: Mapped[dict[str, Any]] = mapped_column("input", Json)
    progress: Mapped[dict[str, Any]] = mapped_column("progress", Json)
    error: Mapped[str | None] = mapped_column("error")
    attempts: Mapped[int] = mapped_column("attempts", Integer)
    lease_id: Mapped[str | None] = mapped_column("leaseId")
    due_at: Mapped[datetime | None] = mapped_column("dueAt")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    started_at: Mapped[datetime | None] = mapped_column("startedAt")
    finished_at: Mapped[datetime | None] = mapped_column("finishedAt")
