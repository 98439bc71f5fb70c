"""Whose fault an error of the operating system is: every number that the system knows, in reading and in writing."""

from __future__ import annotations

import errno

import av
import pytest

from kinetics.errors import MayWorkLater
from kinetics.media.container import ffmpeg_write_errors, open_file
from kinetics.os_errors import BLAME, Blame, blame_for
from tests.support.dataset import PLAIN

DOCUMENTED = {
    "open": "EACCES EBUSY EDQUOT EFBIG EINTR EMFILE ENFILE ENODEV ENOMEM ENOSPC ENXIO EOVERFLOW EPERM EROFS ETXTBSY",
    "read": "EBADF EFAULT EINTR",
    "write": "EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINTR ENOSPC EPERM EPIPE",
    "rename": "EACCES EBUSY EDQUOT EEXIST EMLINK ENOMEM ENOSPC ENOTEMPTY EPERM EROFS EXDEV",
    "fsync": "EBADF EROFS ENOSPC EDQUOT",
    "flock": "EBADF EINTR ENOLCK",
    "mmap": "EACCES EBADF ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY",
    "a network drive": "ESTALE ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENOTCONN ECONNRESET ECONNREFUSED"
    " ECONNABORTED ESHUTDOWN EKEYEXPIRED ENOKEY EPROTO EREMOTE ENOLINK",
    "a drive that was taken out": "ENOMEDIUM EMEDIUMTYPE ENODEV ENXIO",
}
"""The errors of Linux's manual pages, but for those that media or one file can cause."""


@pytest.mark.parametrize(("call", "names"), DOCUMENTED.items())
def test_what_the_manual_says_of_a_call_is_the_machine_s_fault(call: str, names: str) -> None:
    assert {name: blame_for(getattr(errno, name)) for name in names.split()} == dict.fromkeys(
        names.split(), Blame.MACHINE
    ), call


def test_what_only_ffmpeg_says_is_about_the_media() -> None:
    with pytest.raises(MayWorkLater), ffmpeg_write_errors():
        raise av.error.InvalidDataError(0x41444E49, "Invalid data found when processing input")
    assert blame_for(None) is Blame.MEDIA


def test_a_write_that_fails_is_a_clip_s_fault_only_if_media_can_cause_it() -> None:
    for number in errno.errorcode:
        expected = MayWorkLater if BLAME.get(number) is Blame.MEDIA else OSError
        with pytest.raises(expected) as caught, ffmpeg_write_errors():
            av.error.err_check(-number)
        assert getattr(caught.value, "errno", number) == number


def test_a_clip_on_disk_is_bad_only_if_media_can_cause_the_error_of_reading_it() -> None:
    path = PLAIN.progressive.path
    for number in errno.errorcode:
        expected: type[Exception] = MayWorkLater if BLAME.get(number) is Blame.MEDIA else OSError
        if number == errno.ENOMEM:
            expected = MemoryError
        with pytest.raises(expected) as caught, open_file(path):
            av.error.err_check(-number)
        if isinstance(caught.value, OSError):
            assert (caught.value.errno, caught.value.filename) == (number, str(path))
