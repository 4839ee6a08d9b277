"""What every route shares: who asks, limits, one transaction, idempotency keys."""
