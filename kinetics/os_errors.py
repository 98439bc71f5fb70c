"""What an error of the operating system says about whose fault it is: the media's, one file's, or the machine's.

Only the errors of this table concern a clip. Every other one that Linux documents for open, read, write, rename, fsync,
flock or mmap, on a disk or over a network, is the machine's: the next clip would fail in the same way.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum, auto


class Blame(Enum):
    """Whose fault an error is."""

    MEDIA = auto()
    """The content's: FFmpeg uses these numbers for what it thinks of media, too."""
    NO_FILE = auto()
    """The name's: when a clip is read, there is no file under it."""
    UNREADABLE = auto()
    """One file's, when it is read: the disk has lost what is in it. That says nothing about the content."""
    MACHINE = auto()
    """Nobody's but the machine's: a disk, a network drive, a limit, or permissions."""


BLAME: Mapping[int, Blame] = {
    **dict.fromkeys(
        (
            errno.EINVAL,  # timestamps or parameters that a format does not allow
            errno.ERANGE,  # a number that does not fit
            errno.EDOM,
            errno.EILSEQ,  # text that is no UTF-8
            errno.ENOSYS,  # a feature that FFmpeg lacks
            errno.EAGAIN,  # a codec that wants more input; a file on disk never says so
        ),
        Blame.MEDIA,
    ),
    **dict.fromkeys((errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), Blame.NO_FILE),
    **dict.fromkeys(
        (
            errno.EIO,  # a sector that cannot be read
            errno.EUCLEAN,  # the file system's records about the file are damaged
            errno.EBADMSG,  # its checksum is wrong
            errno.ENODATA,
            errno.EREMOTEIO,
        ),
        Blame.UNREADABLE,
    ),
}
"""The errors that concern a clip. A number that is not here is the machine's fault."""

NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})
"""What flock says on a file system that has no locks, or none at the moment."""


def blame_for(number: int | None) -> Blame:
    """Return whose fault an error number is; FFmpeg's own numbers, which no system has, are about the media."""
    if number is None or number not in errno.errorcode:
        return Blame.MEDIA
    return BLAME.get(number, Blame.MACHINE)
