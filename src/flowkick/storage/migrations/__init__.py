"""Alembic's scripts: one file a revision, each running on both databases."""
