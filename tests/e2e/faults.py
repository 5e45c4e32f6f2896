#!/usr/bin/env python3
"""What breaks while a program runs, and that the rest goes on.

Usage: faults.py BUILD CASE      CASE is one of the functions below
"""
import os
import secrets
import signal
import socket
import subprocess
import time

from pool import Failure, Pool, ends_within, expect, main, wait_for_any
from recorder import Recorder

PROMPT_S = 10  # an error must show long before a person would press Ctrl-C; a hang never ends


def ready(pool, **more):
    """A program in the middle of its calls."""
    process = pool.start([pool.program("endless_calls")], **more)
    line = process.stdout.readline()
    if line != "ready\n":
        process.kill()
        raise Failure(f"not ready but {line!r} {process.communicate()}")
    return process


def expect_error(process):
    """The program is told, says so, and ends by itself."""
    started = time.monotonic()
    with os.fdopen(os.pidfd_open(process.pid)) as pid_fd:
        ended = ends_within(pid_fd.fileno(), PROMPT_S)
    if not ended:
        process.kill()
    out, err = process.communicate()
    expect(ended, f"the program hangs, after {out!r} {err!r}")
    name, stays = (out.split("\n") + [""])[:2]
    expect(process.returncode == 3 and name.startswith("cudaError") and stays == "and stays so",
           f"exit code {process.returncode}, {out!r} {err!r}")
    print(f"{name} after {time.monotonic() - started:.2f} s")


def expect_service(pool):
    done = pool.run([pool.program("vector_add")])
    expect(done.returncode == 0, f"the server no longer serves: {done.stdout} {done.stderr}")


def server_killed(build):
    with Pool(build) as pool:
        process = ready(pool)
        workers = [os.pidfd_open(pid) for pid in pool.workers()]
        pool.server.kill()
        expect_error(process)
        expect(workers and all(ends_within(worker, 1) for worker in workers),
               "a worker outlives its server")


def server_stopped(build):
    with Pool(build) as pool:
        process = ready(pool)
        pool.server.terminate()
        expect_error(process)


def worker_killed(build):
    with Pool(build) as pool:
        process, other = ready(pool), ready(pool)
        first = pool.workers()[0]
        os.kill(first, signal.SIGKILL)
        # Only the one whose worker it was ends.
        pid_fds = {os.pidfd_open(one.pid): one for one in (process, other)}
        ended = wait_for_any(pid_fds, PROMPT_S)
        expect(len(ended) == 1, f"{len(ended)} programs ended with one worker")
        expect_error(pid_fds.pop(ended[0]))
        expect_service(pool)
        survivor = pid_fds.popitem()[1]
        expect(survivor.poll() is None, "another client's program ended")
        survivor.kill()
        survivor.communicate()


def client_killed(build):
    with Pool(build) as pool:
        process = ready(pool)
        workers = [os.pidfd_open(pid) for pid in pool.workers()]
        expect(len(workers) == 1, f"{len(workers)} workers for one program")
        process.kill()
        expect(ends_within(workers[0], 1), "the worker outlives its client by a second")
        process.communicate()
        expect_service(pool)


def link_cut(build):
    """The network goes away between the two, both ends alive."""
    with Pool(build) as pool:
        with Recorder(pool.port) as wire:
            process = ready(pool, port=wire.port)
            workers = [os.pidfd_open(pid) for pid in pool.workers()]
        expect_error(process)
        expect(all(ends_within(worker, 5) for worker in workers), "the worker outlives its link")
        expect_service(pool)


def noise(build):
    """Strangers: garbage, half a hello, a lane nobody opened, many silent connections."""
    with Pool(build) as pool:
        address = ("127.0.0.1", pool.port)
        silent = [socket.create_connection(address) for _ in range(20)]
        spoken = [b"\0", b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(4096), b"\x16" * 600,
                  b"\x16\x03\x01\xff\xff" + secrets.token_bytes(300), b"FCL", b"FCL1\1\0",
                  b"FCL1\1\0" + secrets.token_bytes(16), b"FCL1\1\1" + b"\0" * 16,
                  b"FCL1\xff\xff" + secrets.token_bytes(16), b"FCL2" + secrets.token_bytes(18)]
        for words in spoken:
            with socket.create_connection(address) as connection:
                try:
                    connection.sendall(words)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass
                except OSError:
                    pass  # hung up on in the middle of it: as it may
        expect(not pool.workers(), "a stranger was given a worker")
        expect_service(pool)
        for connection in silent:
            connection.close()


def tampered(build):
    """Each byte flipped on its way ends that session, never the server."""
    with Pool(build) as pool:
        for after in (6_000, 20_000, 60_000):
            with Tamperer(pool.port, after) as wire:
                done = pool.run([pool.program("vector_add")], port=wire.port)
            expect(wire.flipped, f"the session ended before byte {after}")
            expect(done.returncode == 1 and "cudaError" in done.stdout,
                   f"byte {after} changed: exit code {done.returncode}, {done.stdout}{done.stderr}")
        expect_service(pool)


class Tamperer(Recorder):
    """Flips one bit of what the client sends once `after` bytes have passed in a connection."""

    def __init__(self, port, after):
        super().__init__(port)
        self.flipped, self._after = False, after

    def _copy(self, source, sink, kept):
        super()._copy(Flipper(self, source), sink, kept)


class Flipper:
    def __init__(self, owner, source):
        self._owner, self._source, self._seen = owner, source, 0

    def recv(self, size):
        part = bytearray(self._source.recv(size))
        at = self._owner._after - self._seen
        self._seen += len(part)
        if 0 <= at < len(part) and not self._owner.flipped:
            part[at] ^= 0x10
            self._owner.flipped = True
        return bytes(part)


def exits_early(build):
    """A program that ends in the middle, without freeing anything."""
    with Pool(build) as pool:
        process = ready(pool)
        worker = os.pidfd_open(pool.workers()[0])
        process.send_signal(signal.SIGTERM)
        process.communicate()
        expect(process.returncode == -signal.SIGTERM, f"ended with {process.returncode}")
        expect(ends_within(worker, 1), "the worker outlives its client by a second")


def page_lost(build):
    """What a kernel left is on a server that has gone: the program must not go on with old bytes."""
    with Pool(build) as pool:
        process = subprocess.Popen([str(pool.program("managed_orphan"))], text=True,
                                   env=pool.environment(), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = process.stdout.readline()
        expect(line == "ready\n", f"not ready but {line!r}")
        os.kill(pool.workers()[0], signal.SIGKILL)
        out, err = process.communicate("go on\n", timeout=PROMPT_S)
        expect(process.returncode == -signal.SIGBUS and out == "",
               f"exit code {process.returncode}, {out!r} {err!r}")
        expect_service(pool)


if __name__ == "__main__":
    main({case.__name__: case for case in (
        server_killed, server_stopped, worker_killed, client_killed, link_cut, noise, tampered,
        exits_early, page_lost)})
