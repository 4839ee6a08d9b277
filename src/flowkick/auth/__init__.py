"""Who is asking: admins, their API keys, and what a key may do."""
