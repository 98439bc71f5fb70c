"""Keeps the fork server quiet: it alone imports this, before it starts any worker.

Where no process can be started it dies, and would print a traceback; this program's process says why instead.
"""

from __future__ import annotations

import sys

sys.excepthook = lambda *_: None
