"""Run all benchmarks, or those that the command line names."""

from benchmarks.report import NAMES, main

if __name__ == "__main__":
    main(NAMES)
