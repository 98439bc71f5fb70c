"""Benchmarks that print tables: `python -m benchmarks` runs all, `python -m benchmarks.NAME` one.

Each benchmark module has a function `measure(settings)` that yields tables. All of them use the loopback YouTube of
`tests/youtube`, in a process of its own, and no other server.
"""
