"""Each module by itself: no other process, and no socket but that of a server in this one."""
