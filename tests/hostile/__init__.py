"""Input from outside that means harm, or none at all: what the program makes of it, and what it never does."""
