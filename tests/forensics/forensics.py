#!/usr/bin/env python3
"""What of a tenant's data can be found, where, and when: before, during and after a lease.

Usage: forensics.py BUILD CASE        CASE: one of ENDINGS below, scanner, or all (a table of all)

A real program takes canaries to the device by every route (canary_routes.cu). The memory of every
server process, its files without a name, shared memory, the disk and the wire are searched while it
runs, as the worker ends, and afterwards. Needs root to see everything; what it cannot see it calls
unreadable, and then the test is skipped rather than passed.
"""
import os
import pathlib
import resource
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import pool as pools  # noqa: E402: the e2e tests' helpers
from pool import Failure, Pool, expect  # noqa: E402
from recorder import Recorder  # noqa: E402

import self_test  # noqa: E402
from canary import Canary  # noqa: E402
from disk import Disk, scan_shared, scan_swap  # noqa: E402
from last_breath import LastBreath  # noqa: E402
from report import Promise, Report  # noqa: E402
from scan import Found, family, scan_bytes, scan_process  # noqa: E402

# How a lease ends, and what the worker leaves to the kernel then. Nobody can wipe after kill -9
# and after a crash but the kernel (init_on_free=1, which farcall-server --check asks for).
ENDINGS = {
    "freed": Promise.KEYS,
    "left": Promise.KEYS,
    "client_killed": Promise.KEYS,
    "link_cut": Promise.KEYS,
    "server_terminated": Promise.KEYS,
    "worker_killed": Promise.EITHER,
    "worker_aborted": Promise.EITHER,
}


class Lease:
    """A pool, a program in the middle of its lease, and everything that looks at them."""

    def __init__(self, build, disk, report, ending):
        self.disk, self.report, self.ending = disk, report, ending
        self.canary = Canary()
        self.pids = []
        # The first process of a namespace, which a worker is in its sandbox, cannot be sent SIGABRT.
        words = ("--sandbox", "off") if ending == "worker_aborted" else ()
        self.pool = Pool(build, server_environment=disk.environment(), server_words=words)

    def run(self):
        with self.pool as pool:
            with Recorder(pool.port) as self.wire:
                self.program = pool.start([routes(pool.build)], port=self.wire.port)
                try:
                    self.begin(self.program, self.canary)
                    self._look("live", Promise.SOMETHING)
                    if self.ending == "freed":
                        say(self.program, "free")
                        hear(self.program, "freed")
                        self._look("all freed", Promise.EITHER)
                    self._end()
                finally:
                    self.program.kill()
                    self.program.communicate()
            self._look_afterwards()

    @staticmethod
    def begin(program, canary):
        say(program, f"{canary.seed:x}")
        printed = hear(program, "live")
        expect(len(printed) == 1 and canary.count(printed[0].encode())["printed"] == 1,
               f"the program said {printed!r}")

    def _add(self, place, moment, found, promise=Promise.NOTHING):
        self.report.add(place, f"{self.ending}: {moment}", found, promise)

    def _look(self, moment, of_worker):
        server = self.pool.server.pid
        self.pids = pids = family(server)
        self._add("supervisor", moment, scan_process(server, self.canary), Promise.KEYS)
        every = Found()
        for pid in pids[1:]:
            every.merge(scan_process(pid, self.canary))
        self._add("worker", moment, every, of_worker)
        self._add("swap", moment, scan_swap(pids))
        self._look_outside(moment)

    def _look_outside(self, moment):
        self._add("shared memory", moment, scan_shared(self.canary, self.pids))
        self._add("disk, files", moment, self.disk.scan(self.canary))
        raw = self.disk.scan_raw(self.canary)
        if raw is not None:
            self._add("disk, raw image", moment, raw)

    def _end(self):
        worker = family(self.pool.server.pid)[-1]
        try:
            with LastBreath(worker) as dying:
                self._make_end(worker)
                found = dying.wait(lambda: scan_process(worker, self.canary))
        except PermissionError:
            self._make_end(worker)
            found = None
        if found is None:
            found = Found()
            found.unreadable = 1 << 30  # all of it
        self._add("worker", "as it ends", found, ENDINGS[self.ending])

    def _make_end(self, worker):
        if self.ending in ("freed", "left"):
            say(self.program, "leave")
        elif self.ending == "client_killed":
            self.program.kill()
        elif self.ending == "link_cut":
            self.wire.__exit__()
        elif self.ending == "server_terminated":
            self.pool.server.terminate()
        else:
            os.kill(worker, signal.SIGKILL if self.ending == "worker_killed" else signal.SIGABRT)

    def _look_afterwards(self):
        if self.ending == "server_terminated":
            self.pool.server.wait(pools.PATIENCE_S)
        else:
            self.pool.await_log("ended, worker")
            left = Found()
            for pid in family(self.pool.server.pid):
                left.merge(scan_process(pid, self.canary))
            self._add("server processes", "afterwards", left, Promise.KEYS)
            self._serve_another()
        self._look_outside("afterwards")
        wire = Found()
        for stream in self.wire.streams():
            wire.merge(scan_bytes(stream, self.canary, "wire"))
        expect(wire.looked_at > 1_000_000, f"only {wire.looked_at} bytes went by the recorder")
        self._add("wire", "ever", wire)
        log = Found()
        for line in self.pool.log:
            log.merge(scan_bytes(line.encode(), self.canary, "log"))
        self._add("log", "ever", log)

    def _serve_another(self):
        """The next client's worker: nothing of the last one is in it."""
        program = self.pool.start([routes(self.pool.build)])
        try:
            self.begin(program, Canary())
            found = Found()
            for pid in family(self.pool.server.pid)[1:]:
                found.merge(scan_process(pid, self.canary))
            self._add("next client's worker", "afterwards", found, Promise.KEYS)
        finally:
            program.kill()
            program.communicate()


def say(program, words):
    program.stdin.write(words + "\n")
    program.stdin.flush()


def hear(program, wanted):
    """The lines that come before the one that is waited for."""
    before = []
    for line in program.stdout:
        if line == wanted + "\n":
            return before
        before.append(line)
    raise Failure(f"not {wanted!r}, but {before!r} {program.communicate()[1]!r}")


def routes(build):
    path = build / "forensics" / "canary_routes"
    if not path.is_file():
        pools.skip("canary_routes is not built, for want of nvcc")
    return path


def forbid_nothing():
    """Core files of any size may be written, into a folder that is looked at."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        pass


def judge(report):
    print(report.table())
    leaks, broken = report.leaks(), report.broken()
    expect(not leaks, f"{len(leaks)} places break their promise")
    if broken:
        pools.skip(f"{len(broken)} places could not be read: run as root")


def look_at(build, endings):
    routes(build)
    disk, report = Disk.open(), Report()
    if disk.why:
        print(disk.why)
    forbid_nothing()
    os.chdir(disk.own)
    for ending in endings:
        Lease(build, disk, report, ending).run()
    judge(report)


def tell_machine():
    """What decides about the rest: of how the machine is set up."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    print(f"cores go to {pattern!r}; init_on_free=1 is"
          f"{'' if 'init_on_free=1' in pathlib.Path('/proc/cmdline').read_text() else ' not'}"
          f" on the kernel's command line")
    done = subprocess.run(["swapon", "--show=NAME", "--noheadings"], check=False, text=True,
                          capture_output=True)
    print(f"swap: {done.stdout.strip() or 'none'}")


def everything(build):
    tell_machine()
    look_at(build, ENDINGS)


if __name__ == "__main__":
    pools.main({ending: lambda build, one=ending: look_at(build, [one]) for ending in ENDINGS}
               | {"scanner": self_test.scanner, "all": everything})
