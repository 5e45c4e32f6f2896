#!/usr/bin/env python3
"""Processes killed at any moment: nothing outlives them, and the server serves on.

Usage: kills.py BUILD clients | workers | servers

FARCALL_KILLS (default 6) says how often each is killed; tools/figures does it a thousand times.
"""
import os
import random
import signal

from pool import Pool, ends_within, expect, main

LATEST_S = 0.4  # of a program's life
ENDS_S = 10  # patience: on a busy machine the kernel itself takes a while to end a process


def kills():
    return int(os.environ.get("FARCALL_KILLS", "6"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def serve_one(pool):
    done = pool.run([pool.program("vector_add")])
    expect(done.returncode == 0, f"the server no longer serves: {done.stdout} {done.stderr}")


def begin(pool, moment_s):
    """A program at some moment of its life: loading, in its handshake, at its first calls, at work;
    and its worker, if there is one by then."""
    process = pool.start([pool.program("endless_calls")])
    with os.fdopen(os.pidfd_open(process.pid)) as program:
        expect(not ends_within(program.fileno(), moment_s), "the program ended by itself")
    return process, pool.workers()


def all_end(fds):
    for number in fds:
        expect(ends_within(number, ENDS_S), "a worker outlives what it worked for")
        os.close(number)


def finish(pool, before):
    """Every session has ended, its worker was buried, and the server serves on with what it had."""
    pool.await_sessions_end()
    serve_one(pool)
    pool.await_sessions_end()
    held = descriptors(pool.server.pid)
    # A handshake that a kill has cut off may still be waited for.
    expect(held <= before + 8, f"the server held {before} descriptors and holds {held}")


def end_of(process):
    process.kill()
    process.communicate()


def clients(build):
    """The server notices, wipes and ends the worker; it holds on to nothing."""
    dice = random.Random(1)
    with Pool(build) as pool:
        serve_one(pool)
        pool.await_sessions_end()
        before = descriptors(pool.server.pid)
        for _ in range(kills()):
            process, workers = begin(pool, dice.uniform(0, LATEST_S))
            fds = [os.pidfd_open(pid) for pid in workers]
            end_of(process)
            all_end(fds)
        finish(pool, before)


def workers(build):
    """The program is told, the server buries the worker and serves the next."""
    dice = random.Random(2)
    killed, latest_s = 0, LATEST_S
    with Pool(build) as pool:
        serve_one(pool)
        pool.await_sessions_end()
        before = descriptors(pool.server.pid)
        while killed < kills():
            process, there = begin(pool, dice.uniform(0, latest_s))
            latest_s *= 1 if there else 1.2  # a machine on which nothing starts as soon
            fds = [os.pidfd_open(pid) for pid in there]
            for fd in fds:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                killed += 1
            if there:
                with os.fdopen(os.pidfd_open(process.pid)) as program:
                    expect(ends_within(program.fileno(), ENDS_S), "the program hangs")
            all_end(fds)
            end_of(process)
        finish(pool, before)


def servers(build):
    """No worker outlives its supervisor, and the next one starts where it was."""
    dice = random.Random(3)
    with Pool(build) as pool:
        for _ in range(kills()):
            process, there = begin(pool, dice.uniform(0, LATEST_S))
            fds = [os.pidfd_open(pid) for pid in there]
            pool.server.kill()
            pool.server.wait()
            all_end(fds)
            end_of(process)
            pool.start_server()
        serve_one(pool)


main({case.__name__: case for case in (clients, workers, servers)})
