"""The first hour of a new user, in an environment of its own; not part of the ordinary run."""
