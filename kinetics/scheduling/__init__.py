"""Decides which item goes out when and to which worker, and what its result means for all the others."""
