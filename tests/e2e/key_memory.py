#!/usr/bin/env python3
"""Keys of a live session lie where nobody reads them, at the server and in its worker.

Usage: key_memory.py BUILD CASE      CASE is one of the functions below
"""
import ctypes
import os
import pathlib

from faults import expect_service, ready
from pool import Pool, expect, main, skip

MEMFD_SECRET = 447
# Both directions of two lanes, each its key and what the cipher makes of it.
RANGES_MIN = 4


def secret_pages(pid):
    """Where a process has memory that the kernel itself has no way to."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return [int(line.split("-")[0], 16) for line in maps.splitlines() if "/secretmem" in line]


def readable(pid, pages):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for page in pages:
            try:
                if os.pread(memory.fileno(), 64, page):
                    yield page
            except OSError:
                pass


def live(build):
    """A worker's traffic keys are in such memory, and /proc does not give them away."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(MEMFD_SECRET, 0)
    if fd < 0:
        skip(f"no memfd_secret here: {os.strerror(ctypes.get_errno())}")
    os.close(fd)
    with Pool(build) as pool:
        program = ready(pool)
        try:
            worker, = pool.workers()
            try:
                pages = secret_pages(worker)
                seen = list(readable(worker, pages))
            except PermissionError:
                skip("only root may look into workers here")
            expect(len(pages) >= RANGES_MIN, f"{len(pages)} ranges of secret memory in a worker")
            expect(not seen, f"can be read: {seen}")
        finally:
            program.kill()
            program.communicate()
        expect_service(pool)


if __name__ == "__main__":
    main({case.__name__: case for case in (live,)})
