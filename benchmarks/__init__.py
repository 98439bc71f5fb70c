"""Side-by-side measurements that print tables: `python -m benchmarks` runs all, `python -m benchmarks.NAME` one.

Each module has a `measure(settings)` that yields tables. All of them meet the loopback YouTube of `tests/youtube`, in a
process of its own, and nothing else.
"""
