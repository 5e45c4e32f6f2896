#!/usr/bin/env python3
"""What a worker has given up, seen by the kernel's own account of it.

Usage: outside.py BUILD CASE      CASE is one of the functions below
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from pool import Pool, expect, main, skip  # noqa: E402

WORKER_USERS = range(0x70000000, 0x7ffffff1)
HOLD = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
print(cuda.cuInit(0), flush=True)
sys.stdin.read()
"""


def hold(pool, **more):
    """A program that keeps its session; the number of its worker."""
    before = set(pool.workers())
    process = pool.start([sys.executable, "-c", HOLD], **more)
    expect(process.stdout.readline() == "0\n", "no session")
    (worker,) = set(pool.workers()) - before
    return process, worker


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1].split() for line in lines}


def only_root():
    if os.geteuid() != 0:
        skip("the kernel tells of a worker's namespaces and root to root alone")


def walls(build):
    """No rights, a filter, namespaces and a root of its own with nothing in it, no core dumps."""
    only_root()
    with Pool(build, server_words=["--sandbox", "strict"]) as pool:
        process, worker = hold(pool)
        facts = status(worker)
        for sets in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            expect(int(facts[sets][0], 16) == 0, f"{sets} is {facts[sets]}")
        expect(facts["NoNewPrivs"] == ["1"], "it could gain privileges")
        expect(facts["Seccomp"] == ["2"], "no system call filter")
        expect(facts["Groups"] == [], f"groups {facts['Groups']}")
        expect(facts["NSpid"][-1] == "1", "no process namespace")
        for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            theirs = os.readlink(f"/proc/{worker}/ns/{name}")
            expect(theirs != os.readlink(f"/proc/{pool.server.pid}/ns/{name}"),
                   f"it shares its server's {name} namespace")
        expect(os.listdir(f"/proc/{worker}/root") == ["images"], "its root is not empty")
        limits = pathlib.Path(f"/proc/{worker}/limits").read_text()
        expect("Max core file size        0                    0" in limits, limits)
        # Every thread of it, not only the one that asked.
        for task in pathlib.Path(f"/proc/{worker}/task").iterdir():
            one = status(f"{worker}/task/{task.name}")
            expect(one["Seccomp"] == ["2"] and int(one["CapEff"][0], 16) == 0, f"thread {task.name}")
        process.communicate("", timeout=60)


def users(build):
    """Each tenant's workers are a user of their own, the same one every time."""
    only_root()
    with Pool(build) as pool:
        other = pool.authority.client("bob", "other")
        seen = []
        for client in (pool.client, pool.client, other):
            process, worker = hold(pool, client=client)
            uids = {int(uid) for uid in status(worker)["Uid"]}
            expect(len(uids) == 1 and min(uids) in WORKER_USERS, f"the worker is user {uids}")
            seen += uids
            process.communicate("", timeout=60)
        expect(seen[0] == seen[1] != seen[2], f"users {seen}")


def off(build):
    """Without a sandbox the log says loudly what that gives up, and sessions are served."""
    with Pool(build, server_words=["--sandbox", "off"]) as pool:
        expect(any("warn: --sandbox off" in line for line in pool.log), "".join(pool.log))
        process, _ = hold(pool)
        process.communicate("", timeout=60)
        expect(process.returncode == 0, "no session")


main({case.__name__: case for case in (walls, users, off)})
