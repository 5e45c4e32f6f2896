#!/usr/bin/env python3
"""What workers may have of the host, kept by the kernel (cgroup v2), or said not to be.

Usage: worker_limits.py BUILD CASE      CASE is one of the functions below
"""
import pathlib

from faults import ready
from pool import Pool, clean_environment, expect, main, run, skip

LIMITS = "memory=4GiB,threads=400,cpu=300"
FILES = {"memory.max": f"{4 << 30}", "pids.max": "400", "cpu.max": "300000 100000"}


def kept(build):
    """Each worker is in a group of its own with these limits, which goes when it ends."""
    with Pool(build, server_words=("--limits-per-worker", LIMITS)) as pool:
        if any("workers go without limits" in line for line in pool.log):
            skip("".join(line for line in pool.log if "workers go without limits" in line))
        program = ready(pool)
        try:
            worker, = pool.workers()
            path = pathlib.Path(f"/proc/{worker}/cgroup").read_text().split("0::", 1)[1].strip()
            mounts = pathlib.Path("/proc/mounts").read_text().splitlines()
            root, = {line.split()[1] for line in mounts if line.split()[2] == "cgroup2"}
            group = pathlib.Path(root + path)
            expect(f"farcall-worker-{pool.server.pid}-" in group.name, group)
            for name, value in FILES.items():
                expect((group / name).read_text().strip() == value, f"{group / name}")
        finally:
            program.kill()
            program.communicate()
        pool.await_sessions_end()
        expect(not group.exists(), f"{group} is left behind")
        pool.server.terminate()
        pool.server.wait(60)
        expect(not list(group.parent.glob("farcall-*")), "groups are left behind")


def not_kept(build):
    """Where the kernel cannot, the server says why and what to do, and serves all the same; strict
    does not."""
    with Pool(build, server_words=("--limits-per-worker", LIMITS)) as pool:
        told = [line for line in pool.log if "workers go without limits" in line]
        if not told:
            skip("this machine keeps such limits")
        expect("Delegate=yes" in told[0] or "no control groups of version 2" in told[0], told)
        expect(pool.farcall_run(["true"]).returncode == 0, "it does not serve")
        identity = ("--cert", pool.certificate, "--key", pool.key, "--ca", pool.authority.ca)
        words = [build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", *identity, "--driver",
                 pool.driver, "--audit", "off", "--control", "off", "--module-cache", "off",
                 "--limits-per-worker", LIMITS, "--sandbox", "strict"]
        done = run(words, clean_environment())
        expect(done.returncode == 1 and "strict" in done.stderr, done)
        done = run([*words[:-2], "--check"], clean_environment())
        expect(done.returncode == 0 and "workers go without" in done.stdout, done)


if __name__ == "__main__":
    main({case.__name__: case for case in (kept, not_kept)})
