#!/usr/bin/env python3
"""One CUDA program on the software GPU alone, or also through Farcall: the same must come out.

Usage: compare.py BUILD alone|through PROGRAM
"""
import json

from pool import Pool, clean_environment, expect, main, program, run, software_gpu


def run_alone(build, path):
    return run([path], clean_environment() | {"LD_PRELOAD": str(software_gpu(build))})


def describe(done):
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def alone(build, name):
    done = run_alone(build, program(build, name))
    expect(done.returncode == 0, describe(done))
    print(done.stdout, end="")


def through(build, name):
    path = program(build, name)
    expected = run_alone(build, path)
    with Pool(build) as pool:
        for strict in ("0", "1"):
            stats = pool.folder / f"stats-{strict}.json"
            done = pool.run([path], FARCALL_STRICT=strict, FARCALL_STATS=str(stats))
            same = (done.stdout, done.returncode) == (expected.stdout, expected.returncode)
            expect(same, f"with FARCALL_STRICT={strict}: {describe(done)}"
                         f"but on the software GPU alone: {describe(expected)}")
            # It could only agree by going through: the session's own figures say that it did.
            figures = json.loads(stats.read_text())
            expect(figures["round_trips"] > 0 and figures["wire_bytes_out"] > 0,
                   f"nothing went through Farcall: {figures}")
    expect(expected.returncode == 0, f"both alike, but wrong: {describe(expected)}")


if __name__ == "__main__":
    main({"alone": alone, "through": through})
