"""Everything that reads or writes mp4: a section of a video becomes a clip; a clip becomes frames or sound."""
