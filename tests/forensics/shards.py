#!/usr/bin/env python3
"""How much of a data set can be put together by whoever holds all servers of a job but one.

Usage: shards.py BUILD CASE        CASE: spread, bound, or all

A program deals a data set out in batches over the devices of three servers. An adversary has all
memory of n-1 of them (every process, memfds, deleted files), all that they wrote to their folders and
every byte that went over their wires, knows the format of a record, and puts together what can be
found. Needs root to see other processes' memory.
"""
import collections
import contextlib
import itertools
import json
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import pool as pools  # noqa: E402
from pool import Pool, expect  # noqa: E402
from recorder import Recorder  # noqa: E402

from canary import Canary  # noqa: E402
from forensics import hear, say  # noqa: E402
from scan import Found, family, scan_bytes, scan_process, scan_tree  # noqa: E402

SERVERS, DEVICES_EACH = 3, 2
DEVICES, BATCHES, RECORDS = 3, 12, 16384  # that the job uses; records of a batch as in shard_job.cu
BATCH_BYTES = RECORDS * 16


class DataSet(Canary):
    """What the program deals out. A record is 16 bytes: 8 that all begin with, 8 of its own."""

    def __init__(self):
        super().__init__()
        self._numbers = {struct.pack("<Q", self._drawn(1 + number)): number
                         for number in range(BATCHES * RECORDS)}

    def count(self, data, end=None):
        """The records that can be read there, by their numbers."""
        end = len(data) if end is None else end
        found = collections.Counter()
        at = data.find(self.head)
        while 0 <= at < end:
            number = self._numbers.get(bytes(data[at + 8:at + 16]))
            if number is not None:
                found[number] += 1
            at = data.find(self.head, at + 8)
        return found


class Job:
    """The program on its servers, in the middle of its lease."""

    def __init__(self, build, **environment):
        self.build, self.environment = build, environment
        self.data = DataSet()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.pools = []
            for _ in range(SERVERS):
                self.pools.append(stack.enter_context(Pool(
                    self.build, beside=self.pools[0] if self.pools else None,
                    server_environment={"FARCALL_SOFTGPU_DEVICES": str(DEVICES_EACH)})))
            self.wires = [stack.enter_context(Recorder(pool.port)) for pool in self.pools]
            self.stats = self.pools[0].folder / "stats"
            self.program = stack.enter_context(self.pools[0].start(
                [program(self.build), DEVICES, BATCHES], FARCALL_STATS=str(self.stats),
                FARCALL_SERVER=",".join(self.pools[0].url(wire.port) for wire in self.wires),
                **self.environment))
            stack.callback(self.program.kill)
            say(self.program, f"{self.data.seed:x}")
            hear(self.program, "live")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def held_by(self, server):
        """The records that one server's memory, folders and wire hold."""
        pool, found = self.pools[server], Found()
        for pid in family(pool.server.pid):
            found.merge(scan_process(pid, self.data))
        found.merge(scan_tree(pool.folder, self.data))
        for stream in self.wires[server].streams():
            found.merge(scan_bytes(stream, self.data, "wire"))
        expect(found.unreadable < 1 << 20, f"{found.unreadable} bytes could not be read")
        return set(found.hits)

    def end(self):
        say(self.program, "leave")
        self.program.stdout.read()
        expect(self.program.wait(pools.PATIENCE_S) == 0, self.program.stderr.read())
        for pool in self.pools:
            pool.await_log("ended, worker")

    def bytes_sent(self):
        """Payload bytes by server, as the client counted them."""
        paths = [self.stats] + [f"{self.stats}.{number}" for number in range(2, SERVERS + 1)]
        return [json.loads(pathlib.Path(path).read_text())["bulk_bytes_out"] for path in paths]


def program(build):
    path = build / "forensics" / "shard_job"
    if not path.is_file():
        pools.skip("shard_job is not built, for want of nvcc")
    if os.geteuid() != 0:
        pools.skip("only root can read the memory of the servers' processes")
    return path


def percent(records):
    return 100 * len(records) / (BATCHES * RECORDS)


def look(job, moment):
    """The largest part that one server has, and that any n-1 of them have together."""
    held = [job.held_by(server) for server in range(SERVERS)]
    one = max(map(percent, held))
    others = max(percent(set().union(*some))
                 for some in itertools.combinations(held, SERVERS - 1))
    print(f"{moment:<28}{one:>14.1f} %{others:>18.1f} %")
    return one, others


def spread(build):
    """No server has more than its share while the job runs, and nobody anything afterwards."""
    print(f"{'':<28}{'one server':>16}{f'any {SERVERS - 1} together':>20}")
    # Without it the first server's devices come first: what the reconstructor sees then shows that
    # it would see it with --spread, too.
    with Job(build) as job:
        one, others = look(job, "not spread, lease alive")
        expect(round(one) == 67 and round(others) == 100, "the devices were not in their order")
        job.end()
    with Job(build, FARCALL_SPREAD="34%") as job:
        one, others = look(job, "--spread, lease alive")
        batch = 100 / BATCHES
        expect(100 / SERVERS - batch <= one <= 100 / SERVERS + batch,
               f"one server has {one:.1f} % of the records")
        expect(others <= 100 * (SERVERS - 1) / SERVERS + batch,
               f"{SERVERS - 1} servers have {others:.1f} % of the records")
        job.end()
        one, others = look(job, "--spread, afterwards")
        expect(others == 0, f"after the lease {others:.2f} % of the records can be had")
        sent = job.bytes_sent()
        print("payload bytes sent:", *sent)
        expect(min(sent) >= BATCHES // SERVERS * BATCH_BYTES, "payloads were not counted")
        expect(max(sent) - min(sent) <= BATCH_BYTES, "servers differ by more than a batch")


def bound(build):
    """A program whose devices are not spread as wanted does not start; one that uses them unevenly
    is told of at its end."""
    path = program(build)
    with Pool(build, server_environment={"FARCALL_SOFTGPU_DEVICES": "2"}) as a, \
         Pool(build, beside=a) as b:

        def job(**more):
            process = a.start([path, 1, 1], FARCALL_SERVER=f"{a.url()},{b.url()}",
                              FARCALL_SPREAD="60%", FARCALL_LOG="warn", **more)
            _, log = process.communicate("1\nleave\n", timeout=pools.PATIENCE_S)
            return process.returncode, log

        code, log = job()
        expect(code != 0 and "has 2 of the program's 3 devices, more than the 60 %" in log, log)
        code, log = job(CUDA_VISIBLE_DEVICES="0,1")
        expect(code == 0 and f"spread: {a.url()} got" in log and "unevenly" in log, log)


def everything(build):
    spread(build)
    bound(build)


if __name__ == "__main__":
    pools.main({"spread": spread, "bound": bound, "all": everything})
