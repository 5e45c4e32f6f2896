"""Stops a process at the moment it ends, its memory still there: what it leaves to the kernel.

    with LastBreath(pid) as dying:
        …                                # whatever makes it end
        found = dying.wait(lambda: scan_process(pid, canary))

By ptrace (PTRACE_O_TRACEEXIT), which needs root here, because workers cannot be traced by others.
Pages that a process gives back before its end are not seen so; a dump of the machine sees them.
"""
import ctypes
import os
import signal

SEIZE, INTERRUPT, CONT, DETACH, OPTION_EXIT, EVENT_EXIT = 0x4206, 0x4207, 7, 17, 0x40, 6
EVERY_THREAD = 0x40000000  # __WALL
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def ptrace(request, pid, data=0):
    if LIBC.ptrace(request, pid, None, data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class LastBreath:
    """Threads: the one that made it, as ptrace wants it."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        ptrace(SEIZE, self.pid, OPTION_EXIT)
        return self

    def __exit__(self, *_):
        pass

    def wait(self, look):
        """What look() gives, called as the process ends; None when there was no such moment."""
        seen = None
        while True:
            try:
                pid, status = os.waitpid(self.pid, EVERY_THREAD)
            except ChildProcessError:
                return seen
            if not os.WIFSTOPPED(status):
                return seen
            given = 0
            if status >> 8 == signal.SIGTRAP | EVENT_EXIT << 8:
                seen = look()
            elif status >> 16 == 0:
                given = os.WSTOPSIG(status)
            ptrace(CONT, pid, given)
