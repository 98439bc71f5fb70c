"""The parts of the Kinetics downloader; `download.py` is the way in."""
