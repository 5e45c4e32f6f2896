#!/usr/bin/env python3
"""farcall gpus and farcall demo as a person uses them.

Usage: commands.py BUILD CASE      CASE is one of the functions below
"""
import json

from pool import Pool, clean_environment, expect, main, program, run


def gpus(build):
    """A table for people, JSON for programs, and words when nobody listens."""
    with Pool(build) as pool:
        certificate, key = pool.client
        ask = [pool.farcall, "gpus", "--cert", certificate, "--key", key, "--ca",
               pool.authority.ca, "--server"]
        table = run([*ask, f"127.0.0.1:{pool.port}"], clean_environment())
        expect(table.returncode == 0 and "Farcall Software GPU" in table.stdout, table)
        told = run([*ask, f"127.0.0.1:{pool.port}", "-o", "json"], clean_environment())
        expect(told.returncode == 0, told)
        devices = json.loads(told.stdout)["gpus"]
        expect(len(devices) == 1 and devices[0]["name"] in table.stdout, devices)
        nobody = run([*ask, "127.0.0.1:1"], clean_environment())
        expect(nobody.returncode == 125 and "cannot connect" in nobody.stderr, nobody)


def demo(build):
    """A pool of several devices, whatever the caller's own connection is; nothing stays behind."""
    hello = program(build, "vector_add")
    farcall = build / "bin" / "farcall"
    mine = clean_environment() | {"FARCALL_SERVER_NAME": "gpu1.lab", "FARCALL_SERVER": "gpu1:1"}
    done = run([farcall, "demo", "--gpus", "3", "--", hello], mine)
    expect(done.returncode == 0, done)
    listed = run([farcall, "demo", "--gpus", "3", "--no-summary", "--", "sh", "-c",
                  f"{farcall} gpus -o json"], mine)
    expect(listed.returncode == 0 and len(json.loads(listed.stdout)["gpus"]) == 3, listed)
    failed = run([farcall, "demo", "--no-summary", "--", "sh", "-c", "exit 3"], mine)
    expect(failed.returncode == 3, failed)


if __name__ == "__main__":
    main({"gpus": gpus, "demo": demo})
