"""Webhooks: the catalogue of events, the outbox, subscriptions."""
