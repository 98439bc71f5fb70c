"""The paths of a data set, on disk or at a URL, and everything that writes and reads its files and tables."""
