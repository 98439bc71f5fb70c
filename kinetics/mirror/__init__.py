"""Clips out of the archives of CVDF's mirror: which archives to read, and how they are read."""
