"""A version and a subset become the table of clips that a run is about."""
