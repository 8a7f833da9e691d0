"""A folder of one's own for scratch files, and the end of those that dead workers left behind."""

import fcntl
import os
import secrets
import shutil
import weakref
from pathlib import Path


class Scratch:
    """A worker's folder under `root`; it is held as long as the process lives, and removed by the next to start after.

    A worker that is killed leaves its downloads and spools behind, and one object may kill several: without this they
    would fill the disk. A lock tells the dead from the living, because the system lets go of it with the process.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        for lock in root.glob("*.lock"):
            _remove_if_left(lock)
        self.folder, descriptor = _claimed(root)
        weakref.finalize(self, os.close, descriptor)


def _claimed(root: Path) -> tuple[Path, int]:
    """Make and lock a folder; once more if somebody took the lock file for a left one before it was locked."""
    while True:
        folder = root / f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = folder.with_suffix(".lock")
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if lock.exists():
            folder.mkdir()
            return folder, descriptor
        os.close(descriptor)


def _remove_if_left(lock: Path) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
