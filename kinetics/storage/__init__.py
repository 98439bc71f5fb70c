"""Where everything lives on disk or at a URL, and the only ways in which it is written and read."""
