"""What a run will do, in which order, from which source, and about how long that takes."""
