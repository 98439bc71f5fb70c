"""Minutes to hours of faults; not part of the ordinary run."""
