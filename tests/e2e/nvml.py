#!/usr/bin/env python3
"""libnvidia-ml.so.1 and farcall smi: what programs see of the leased devices, and what it costs.

Usage: nvml.py BUILD CASE      CASE is one of the functions below
"""
import json
import os
import pathlib
import re
import subprocess
import sys

from pool import (PATIENCE_S, Pool, clean_environment, ends_within, expect, main, run)

PROGRAM = pathlib.Path(__file__).with_name("nvml_program.py")
MIB = 1 << 20


def preload(build):
    return f"{build}/lib/libcuda.so.1:{build}/lib/libnvidia-ml.so.1"


def told(done):
    expect(done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def program(pool, *words):
    """Runs a case of the program, and returns what it tells."""
    return told(pool.run([sys.executable, PROGRAM, *words], LD_PRELOAD=preload(pool.build)))


class Started:
    """A case of the program that waits for its input to end."""

    def __init__(self, pool, *words):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *words], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=pool.environment(LD_PRELOAD=preload(pool.build)))
        self.told = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def only_device(seen):
    expect(len(seen["devices"]) == 1, seen)
    return seen["devices"][0]


def memory(build):
    """One program holds memory; another one, which does not use CUDA, sees it come and go."""
    with Pool(build) as pool:
        device = only_device(program(pool, "view"))
        expect(device["name"] == "Farcall Software GPU", device)
        expect(re.fullmatch(r"GPU-[0-9a-f-]{36}", device["uuid"]), device)
        expect(device["used"] == 0 and device["processes"] == [], device)
        expect(device["free"] == device["total"] > 0, device)
        with Started(pool, "hold", "64") as holder:
            device = only_device(program(pool, "view"))
            expect(device["used"] == 64 * MIB, device)
            expect(device["free"] == device["total"] - 64 * MIB, device)
            expect(device["processes"] == [{"pid": holder.process.pid, "used": 64 * MIB,
                                            "name": sys.executable}], device)
            holder.process.stdin.write("\n")
            holder.process.stdin.flush()
            expect(json.loads(holder.process.stdout.readline())["held"] == 32 * MIB, "half of it")
            expect(only_device(program(pool, "view"))["used"] == 32 * MIB, "after a free")
            holder.process.kill()
            holder.process.wait()
            expect(only_device(program(pool, "view"))["used"] == 0, "after a kill")


def others(build):
    """Memory on another server's device of the same name is not shown."""
    with Pool(build) as pool, Pool(build) as other, Started(other, "hold", "16"):
        device = only_device(program(pool, "view"))
        expect(device["used"] == 0 and device["processes"] == [], device)
        expect(only_device(program(other, "view"))["used"] == 16 * MIB, "at home")


def no_worker(build):
    """A program that only looks keeps no worker, however long it stays."""
    with Pool(build) as pool, Started(pool, "linger"):
        for pid in pool.workers():
            try:
                pid_fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            expect(ends_within(pid_fd, PATIENCE_S), "a worker stays")
        started = [line for line in pool.log if re.search(r"session \w+: tenant", line)]
        expect(len(started) == 1, f"three times asked, looked once: {pool.log}")


def misuse(build):
    with Pool(build) as pool:
        expect(program(pool, "forks") == {"child": 0, "same": True}, "fork")
        expect(program(pool, "threads") == {"failed": [], "closed": 1}, "threads")
        expect(program(pool, "ends") == {"uninitialised": [1, 1, 1], "wrong": [2, 2, 2, 2],
                                         "short": 7}, "ends")
        text = (PROGRAM.parents[2] / "client_shim/nvml/unsupported.def").read_text()
        names = re.findall(r"^UNSUPPORTED\((\w+)\)", text, re.M)
        expect(len(names) > 300, f"{len(names)} names")
        expect(program(pool, "unsupported", *names) == {"others": []}, "unsupported")


def no_server(build):
    environment = clean_environment() | {"LD_PRELOAD": preload(build)}
    seen = told(run([sys.executable, PROGRAM, "no_server"], environment))
    expect(seen == {"init": 9, "without": 0, "text": "Driver Not Loaded"}, seen)


def smi(pool, *words):
    certificate, key = pool.client
    return run([pool.farcall, "smi", "--server", pool.url(), "--cert", certificate, "--key", key,
                "--ca", pool.authority.ca, *words], clean_environment())


def farcall_smi(build):
    with Pool(build) as pool:
        empty = smi(pool)
        expect(empty.returncode == 0 and "No process of yours" in empty.stdout, empty.stdout)
        with Started(pool, "hold", "64") as holder:
            seen = told(smi(pool, "-o", "json"))
            gpu = seen["gpus"][0]
            expect(seen["cuda_version"] == "13.0" and gpu["used_bytes"] == 64 * MIB, seen)
            expect([(one["pid"], one["used_bytes"]) for one in gpu["processes"]]
                   == [(holder.process.pid, 64 * MIB)], gpu)
            table = smi(pool).stdout
            expect("Farcall Software GPU" in table and f"{holder.process.pid}" in table, table)
        # farcall run puts the library where programs find it.
        found = told(pool.farcall_run([sys.executable, str(PROGRAM), "view"]))
        expect(only_device(found)["name"] == "Farcall Software GPU", found)
        pool.server.terminate()
        pool.server.wait()
        refused = smi(pool)
        expect(refused.returncode == 125 and "cannot connect" in refused.stderr, refused.stderr)


if __name__ == "__main__":
    main({case.__name__: case
          for case in (memory, others, no_worker, misuse, no_server, farcall_smi)})
