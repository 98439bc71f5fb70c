"""Which item goes out when, to which worker, and what its result means for all the others."""
