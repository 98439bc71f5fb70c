"""The first hours of a new user: what README.md and docs/ say is typed as it stands. Not part of the ordinary run."""
