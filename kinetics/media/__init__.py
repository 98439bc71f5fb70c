"""Reads and writes media files: a section of a video becomes a clip, a clip becomes frames or sound."""
