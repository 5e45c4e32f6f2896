#!/usr/bin/env python3
"""Shares of computing time: greedy programs get theirs, and no more while others want it.

What is compared are blocks that kernels finished, never times. How exact the shares are, and what
they cost, tools/bench/share measures.

Usage: share.py BUILD CASE      CASE is one of the functions below
"""
import os
import signal

from leases import LeasedPool
from pool import Pool, expect, main

SPINS = "40000"  # two milliseconds a launch on the software GPU


class Tenant:
    """A greedy program; .go() starts it, .stop() returns what it finished."""

    def __init__(self, pool, *words, **more):
        self.process = pool.start([pool.program("share_greedy"), *words], **more)
        self.read("ready")

    def read(self, start):
        line = self.process.stdout.readline()
        expect(line.startswith(start), f"{line!r}: {self.process.stderr.read() if not line else ''}")
        return line.split()

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def await_finished(self):
        return int(self.read("finished")[1])

    def stop(self):
        self.tell()
        return self.await_finished()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def race(first, second, blocks):
    """Part of all blocks that `first` has, which ends by itself, while both want the device."""
    second.tell()
    first.tell()
    done = first.await_finished()
    other = second.stop()
    print(f"{done} and {other} blocks: {100 * done / (done + other):.1f} %")
    expect(done >= blocks, done)
    return done / (done + other)


def by_users(build):
    """Two programs of one user share what that user has, and another user has as much as they."""
    with Pool(build, server_words=("--limits-per-user", "compute=50")) as pool:
        ben = pool.authority.client("ben")
        with Tenant(pool, "plain", SPINS, "800") as first, \
                Tenant(pool, "graph", SPINS, client=ben) as second, \
                Tenant(pool, "plain", SPINS) as third:
            third.tell()
            part = race(first, second, 800)
            rest = third.stop()
            expect(rest > 0 and 0.2 < part < 0.47, f"half of 50:50 came out as {part:.2f}")


def by_leases(build):
    """30:70 by two lease tokens, with graphs and cooperative launches."""
    with LeasedPool(build) as pool:
        ben = pool.authority.client("ben")
        for how in ("plain", "mixed"):
            few = pool.issue(f"few-{how}", "--compute", "30")
            many = pool.issue(f"many-{how}", "--compute", "70", client=ben)
            with Tenant(pool, how, SPINS, "1200", FARCALL_LEASE=str(few)) as first, \
                    Tenant(pool, how, SPINS, client=ben, FARCALL_LEASE=str(many)) as second:
                part = race(first, second, 1200)
                expect(0.2 < part < 0.4, f"30:70 came out as {part:.2f}")


def worker_of(pool, before):
    new = set(pool.workers()) - set(before)
    expect(len(new) == 1, new)
    return new.pop()


def holder_gone(build):
    """Whoever ends in its turn, by whatever way, leaves the device to the others."""
    with Pool(build, server_words=("--limits-per-user", "compute=50")) as pool:
        ben = pool.authority.client("ben")
        with Tenant(pool, "plain", SPINS, "2000", client=ben) as stays:
            stays.tell()
            for end in ("client", "worker", "endless"):
                before = pool.workers()
                words = ["endless"] if end == "endless" else ["plain", SPINS]
                with Tenant(pool, *words) as goes:
                    worker = worker_of(pool, before)
                    goes.tell()
                    if end == "endless":
                        goes.read("launched")
                        with Tenant(pool, "plain", SPINS, "40", client=ben) as beside:
                            beside.tell()
                            beside.await_finished()  # beside a kernel that never ends
                    if end == "worker":
                        os.kill(worker, signal.SIGKILL)
            expect(stays.await_finished() >= 2000, "it was held up")
            # And the user whose programs were killed has its share again.
            with Tenant(pool, "plain", SPINS, "40") as again:
                again.tell()
                again.await_finished()


if __name__ == "__main__":
    main(globals())
