"""Decides what a run will do, in which order and from which source, and estimates how long it takes."""
