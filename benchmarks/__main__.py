"""Run all benchmarks, or those that are named."""

from benchmarks.report import NAMES, main

if __name__ == "__main__":
    main(NAMES)
