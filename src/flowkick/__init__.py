"""Flowkick: contacts come in, and signed webhooks tell your systems what changed."""

__version__ = "0.1.0"
