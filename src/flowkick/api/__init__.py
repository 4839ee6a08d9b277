"""HTTP in: the application, its units of work, its one shape of failure."""
