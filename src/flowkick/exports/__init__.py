"""Files of users, complete before their first byte leaves, and the log of who got which."""
