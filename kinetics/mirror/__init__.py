"""Gets clips from the archives of CVDF's mirror: finds which archives to read, reads them, and extracts clips."""
