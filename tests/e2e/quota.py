#!/usr/bin/env python3
"""Limits of a lease: a greedy program gets what it may have, an error beyond, and disturbs nobody.

Usage: quota.py BUILD CASE      CASE is one of the functions below
"""
import json
import pathlib
import signal
import sys

from pool import PATIENCE_S, Pool, expect, main

MIB = 1 << 20
LIMIT = 256 * MIB
NVML = pathlib.Path(__file__).with_name("nvml_program.py")


def limited(build, *words):
    return Pool(build, server_words=("--memory-per-user", "256MiB", *words))


class Holder:
    """A program that holds memory until it is told to end; .told is what it could get."""

    def __init__(self, pool, mebibytes, **more):
        self.process = pool.start([pool.program("quota_fill"), "hold", str(mebibytes)], **more)
        line = self.process.stdout.readline()
        expect(line.startswith("held "), f"{line!r}: {self.process.stderr.read() if not line else ''}")
        _, self.told, free = line.split()
        self.free = int(free)

    def __enter__(self):
        return self

    def end(self):
        self.process.stdin.close()
        expect(self.process.wait(PATIENCE_S) == 0, "the holder failed")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def charged(size):
    step = 512 if size <= MIB else 2 * MIB
    return -(-size // step) * step


def fill(build):
    """In pieces of every size a program gets all that is free, and every figure says the same."""
    with limited(build) as pool:
        done = pool.run([pool.program("quota_fill")])
        expect(done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}")
        lines = [line.split() for line in done.stdout.splitlines()]
        total = next(line[1:] for line in lines if line[0] == "total")
        expect([int(each) for each in total] == [LIMIT, LIMIT], total)
        filled = [[int(each) for each in line[1:]] for line in lines if line[0] == "filled"]
        expect(len(filled) == 5, done.stdout)
        for size, from_pool, count, before, left in filled:
            expect(before <= LIMIT and before > LIMIT - 16 * MIB, f"free at first: {before}")
            step = charged(size)
            expect(left < step, f"refused {size} bytes with {left} free")
            expect(count == before // step, f"{count} pieces of {size} (pool {from_pool}) of {before}")


def shared(build):
    """The programs of a user share; another user has as much again; a killed one leaves nothing."""
    with limited(build) as pool:
        other = pool.authority.client("ben")
        with Holder(pool, 160) as first:
            expect(first.told == "cudaSuccess", first.told)
            with Holder(pool, 128) as second:
                expect(second.told == "cudaErrorMemoryAllocation", second.told)
                expect(second.free <= 96 * MIB, second.free)
            with Holder(pool, 160, client=other) as third:
                expect(third.told == "cudaSuccess", third.told)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            pool.await_log("ended, worker")
        pool.await_log("lease of tenant acme, user ben")
        pool.await_log("lease of tenant acme, user client")
        with Holder(pool, 200) as again:
            expect(again.told == "cudaSuccess", again.told)
            again.end()


def one_story(build):
    """cuMemGetInfo, NVML and farcall smi tell of the lease."""
    with limited(build) as pool:
        preload = f"{build}/lib/libcuda.so.1:{build}/lib/libnvidia-ml.so.1"
        holder = pool.start([sys.executable, NVML, "hold", "64"], LD_PRELOAD=preload)
        try:
            expect(json.loads(holder.stdout.readline())["held"] == 64 * MIB, "64 MiB")
            seen = json.loads(pool.run([sys.executable, NVML, "view"], LD_PRELOAD=preload).stdout)
            device = seen["devices"][0]
            expect(device["total"] == LIMIT, device)
            expect(device["used"] == 64 * MIB and device["free"] == LIMIT - 64 * MIB, device)
            # The same user's next program: the server's own count.
            with Holder(pool, 1) as second:
                expect(LIMIT - 66 * MIB < second.free <= LIMIT - 65 * MIB, second.free)
        finally:
            holder.kill()
            holder.wait()


def sessions(build):
    """A user has as many programs at a time as allowed, and is told; another user's goes on."""
    with Pool(build, server_words=("--limits-per-user", "sessions=2")) as pool:
        with Holder(pool, 1) as first, Holder(pool, 1):
            third = pool.run([pool.program("vector_add")], FARCALL_LOG="warn")
            expect(third.returncode != 0, third.stdout)
            expect("all 2 of its sessions" in third.stderr, third.stderr)
            other = pool.run([pool.program("vector_add")], client=pool.authority.client("ben"))
            expect(other.returncode == 0, other.stderr)
            first.end()
            again = pool.run([pool.program("vector_add")])
            expect(again.returncode == 0, again.stderr)


def words(build):
    """What the server does not understand it refuses, naming it."""
    for word, told in (("memory=12XB", "12XB"), ("cores=3", "cores"), ("memory=1G", "give one")):
        try:
            with limited(build, "--limits-per-user", word):
                expect(False, f"{word} was taken")
        except Exception as refused:  # the pool's Failure, with the server's words
            expect(told in str(refused), f"{word}: {refused}")


if __name__ == "__main__":
    main(globals())
