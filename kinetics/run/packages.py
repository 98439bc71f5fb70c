"""The packages that single options need, checked for before any work is begun."""

from __future__ import annotations

from kinetics.errors import check_installed
from kinetics.run.options import Command, Options
from kinetics.storage.parquet import SUFFIX as PARQUET
from kinetics.youtube.engines import check_engines


def check_packages(options: Options) -> None:
    """Raise Fatal if a package that an option needs is not installed.

    Those for a URL are left to `open_store`, since they differ from store to store.
    """
    if options.command is Command.REPORT:
        check_installed("--report", "matplotlib", "jinja2", "pillow")
    tables = (options.manifest, options.only, *(options.compare or ()))
    if named := [table for table in tables if table and table.suffix.lower() == PARQUET]:
        check_installed(named[0].name, "pyarrow")
    if options.scheduler:
        check_installed("--scheduler", "distributed")
    if options.command is Command.DOWNLOAD and options.source != "mirror":
        check_engines(options.engine)
