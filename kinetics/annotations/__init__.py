"""Loads the clips of a version and subset from annotation files, and selects those of a run."""
