"""The whole program as a user runs it, and real videos through its cutters."""
