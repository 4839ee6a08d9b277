"""Sending again what one subscription has got, or the present state of users, as a job."""
