"""The two databases behind one face: engines, sessions bound to an admin, migrations."""
