"""Methods against faults, one per file."""
