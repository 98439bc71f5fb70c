"""The command: its options, what each command does, and all that is printed."""
