"""The parts of the Kinetics downloader; `kinetics.cli.main` is the entry."""

__version__ = "1.0.0"
