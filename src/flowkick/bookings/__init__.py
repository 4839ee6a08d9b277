"""Bookings of tools by users: made, moved, cancelled, completed, each with its event."""
