"""Users from files: read as a stream, written in batches, continued where an import was killed."""
