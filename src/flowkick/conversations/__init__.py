"""Conversations of users with an assistant, and their messages. No event tells of them."""
