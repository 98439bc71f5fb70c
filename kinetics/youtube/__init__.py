"""A video id becomes formats, and formats become a clip: the engines, and the sorting of what YouTube says."""
