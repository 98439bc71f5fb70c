"""What tests share: factories, and helpers for processes, servers and browsers."""
