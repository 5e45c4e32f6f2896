#!/usr/bin/env python3
"""What is left of a tenant in the memory of a whole machine, its kernel's included.

Usage: dump.py BUILD dump

A server runs in an emulated machine (machine.py), and a real program here (canary_routes.cu): no
canary is in that machine by right but in the worker of a lease that lives. All of its memory is
searched during the lease and after its end: pages given back, pipes, socket buffers, page cache. So
is the disk it swaps to. After kill -9 only a kernel with init_on_free=1 has wiped anything.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "e2e"))
sys.path.insert(0, str(HERE.parent / "rdma"))
import pool as pools  # noqa: E402: the e2e tests' helpers
import rig  # noqa: E402
from pool import expect  # noqa: E402

from canary import Canary  # noqa: E402
from forensics import Lease, judge, routes, say  # noqa: E402
from machine import Machine  # noqa: E402
from report import Promise, Report  # noqa: E402

# The kernel's command line -> endings, one lease each, and what may be left.
MACHINES = {
    "": {"left": Promise.NOTHING, "client_killed": Promise.NOTHING, "worker_killed": Promise.EITHER,
         "server_terminated": Promise.NOTHING},
    "init_on_free=1": {"worker_killed": Promise.NOTHING, "supervisor_killed": Promise.NOTHING},
}
SWAPPED_MIN = 16 << 20


def end(pool, program, ending):
    if ending == "left":
        say(program, "leave")
    elif ending == "client_killed":
        program.kill()
    else:
        pool.do(ending)
    if ending not in ("server_terminated", "supervisor_killed"):
        pool.await_sessions_end()
    pool.do("settle")


def look_at_lease(pool, report, place, ending, promise):
    canary = Canary()
    program = pool.start([routes(pool.build)])
    try:
        Lease.begin(program, canary)
        report.add(place, f"{ending}: live", pool.scan_memory(canary), Promise.SOMETHING)
        if ending == "left":  # once is enough: a lease that gets under pressure
            pool.do("swap_out")
            swapped = pool.scan_swap(canary)
            expect(swapped.looked_at > SWAPPED_MIN, f"only {swapped.looked_at} bytes were swapped")
            report.add("swap", f"{ending}: live", swapped)
        end(pool, program, ending)
        report.add(place, f"{ending}: afterwards", pool.scan_memory(canary), promise)
        report.add("swap", f"{ending}: afterwards", pool.scan_swap(canary))
    finally:
        program.kill()
        program.communicate()


def dump(build):
    routes(build)
    report = Report()
    try:
        machine = rig.Rig(rig.cache_of(build))
    except rig.Missing as missing:
        pools.skip(missing)
    for arguments, endings in MACHINES.items():
        with Machine(build, machine, arguments) as pool:
            for ending, promise in endings.items():
                look_at_lease(pool, report, f"memory {arguments}", ending, promise)
    judge(report)


if __name__ == "__main__":
    pools.main({"dump": dump})
