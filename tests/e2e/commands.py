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


def nvrtc(build):
    """A program that asks NVRTC for machine code runs on a software GPU, by demo and by check."""
    saxpy = program(build, "nvrtc_saxpy")
    wanted = run([build / "bin/farcall", "demo", "--no-summary", "--", saxpy], clean_environment())
    expect(wanted.returncode == 0, wanted)
    for command in (["demo", "--no-summary"], ["check"]):
        done = run([build / "bin/farcall", *command, "--", saxpy, "sm_90"], clean_environment())
        expect(done.returncode == 0 and done.stdout == wanted.stdout, done)
    # Without the library that asks for PTX there is only machine code, which says so.
    alone = clean_environment() | {"LD_PRELOAD": build / "lib/software_gpu/libcuda.so.1"}
    refused = run([saxpy, "sm_90"], alone)
    expect(refused.returncode == 1 and "cuModuleLoadData" in refused.stdout, refused)


if __name__ == "__main__":
    main({"gpus": gpus, "demo": demo, "nvrtc": nvrtc})
