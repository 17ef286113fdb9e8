"""The wording of everything that can go wrong with a file. Knows no format."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ..errors import Sim4SegError


def quoted(path: Path) -> str:
    """The file's or folder's own name in quotes, safe to print on one line of any terminal."""
    name = path.name or str(path)
    return '"' + "".join(c if c.isprintable() else "?" for c in name) + '"'


def explain_os_error(error: OSError, path: Path, verb: str) -> Sim4SegError:
    """Say in one sentence why the system refused.

    Args:
        verb: what was tried, "read" or "write".
    """
    reasons = {
        errno.ENOENT: "there is no such file or folder; check the path",
        errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
        errno.EACCES: f"no permission to {verb} it; change the rights or choose another place",
        errno.EPERM: f"no permission to {verb} it; change the rights or choose another place",
        errno.EROFS: "the disk is read-only; choose another folder",
        errno.ENOSPC: "no space left on the disk; free some and run again",
        errno.EDQUOT: "no space left in your quota; free some and run again",
        errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
    }
    reason = reasons.get(error.errno or 0) or error.strerror or "the system refused"
    return Sim4SegError(f"cannot {verb} {quoted(path)}: {reason}")


def cannot_read(path: Path, reason: str) -> Sim4SegError:
    """`reason` says what is wrong and, after a semicolon, what to do."""
    return Sim4SegError(f"cannot read {quoted(path)}: {reason}")


def check_path_for_itk(path: Path, verb: str) -> None:
    """ITK ends the whole program over a path that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Sim4SegError(
            f"cannot {verb} {quoted(path)}: its path is not valid UTF-8; rename the file or folder"
        ) from None


@contextlib.contextmanager
def decoding(path: Path, kind: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a library raises on a bad file into one sentence, without its text.

    Enclose calls of the library only: a defect of ours must not read as a damaged file.

    Args:
        kind: the file's format, for the message.
        errors: what the library raises on hostile bytes.
    """
    try:
        yield
    except MemoryError:
        raise cannot_read(path, "it does not fit into memory; crop or downsample it") from None
    except errors as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise explain_os_error(error, path, "read") from None
        raise cannot_read(
            path, f"it is not a {kind} file, or damaged, truncated or of an unsupported variant"
        ) from None
