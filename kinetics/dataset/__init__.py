"""What is done with the clips on disk: verified, converted, listed, packed, described, compared."""
