#!/usr/bin/env python3
"""Download the Kinetics data sets: annotation file in, folder of trimmed clips out. Run it again to go on."""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "error: Python 3.11 or later is needed, and this is %d.%d: install one, and make the environment with it\n"
        % sys.version_info[:2]
    )
    sys.exit(2)
if sys.platform == "win32":
    sys.stderr.write(
        "error: this program does not run on Windows itself: run it in WSL, the Windows Subsystem for Linux\n"
    )
    sys.exit(2)

if __name__ == "__main__":
    import os
    import signal
    from pathlib import Path

    folder = str(Path(__file__).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # Python itself leaves it out with PYTHONSAFEPATH, or as `python -P` or `-I`

    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # Ctrl-C while the imports below run: no traceback

    try:
        from kinetics.cli.main import entry
    except (ImportError, MemoryError) as error:
        from kinetics.scheduling.machine import NOT_MAPPED, no_more_memory

        if isinstance(error, ImportError) and not any(words in str(error) for words in NOT_MAPPED):
            raise
        sys.stderr.write("error: %s\n" % no_more_memory())
        sys.exit(2)

    entry()
