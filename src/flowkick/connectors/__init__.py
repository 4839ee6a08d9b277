"""The systems outside: contacts come in from ManyChat."""
