"""What every other layer stands on: settings, errors, clock, ids, encryption."""
