"""The parts of the Kinetics downloader; `kinetics.cli.main` is the entry."""
