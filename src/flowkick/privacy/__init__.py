"""The rights of those whose data this is: consent and erasure."""
