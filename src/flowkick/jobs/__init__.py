"""Work that takes longer than a request: kept in the database, done by workers, step by step."""
