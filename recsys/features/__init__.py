"""Features, computed once: one definition for batch backfill, training joins and requests."""
