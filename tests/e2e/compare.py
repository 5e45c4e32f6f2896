#!/usr/bin/env python3
"""One CUDA program on the software GPU alone, or also through Farcall: the same must come out.

Usage: compare.py BUILD alone|through|loopback PROGRAM
"""
import json
import os
import pathlib
import tempfile

from pool import OFF, Pool, clean_environment, expect, main, program, run, software_gpu


# A sanitizer's runtime, which must be loaded before the libraries that were built with it.
RUNTIME = os.environ.get("FARCALL_TEST_RUNTIME", "")


def preload(library):
    return {"LD_PRELOAD": f"{RUNTIME} {library}".strip()}


def run_alone(build, path):
    return run([path], clean_environment() | preload(software_gpu(build)))


def describe(done):
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def alone(build, name):
    done = run_alone(build, program(build, name))
    expect(done.returncode == 0, describe(done))
    print(done.stdout, end="")


def same_as_alone(build, path, run_through, folder):
    """Runs it with and without FARCALL_STRICT by run_through(**environment)."""
    expected = run_alone(build, path)
    for strict in ("0", "1"):
        stats = folder / f"stats-{strict}.json"
        done = run_through(FARCALL_STRICT=strict, FARCALL_STATS=str(stats))
        same = (done.stdout, done.returncode) == (expected.stdout, expected.returncode)
        expect(same, f"with FARCALL_STRICT={strict}: {describe(done)}"
                     f"but on the software GPU alone: {describe(expected)}")
        # It could only agree by going through: the session's own figures say that it did.
        figures = json.loads(stats.read_text())
        expect(figures["round_trips"] > 0 and figures["wire_bytes_out"] > 0,
               f"nothing went through Farcall: {figures}")
        # The two counts are read one after the other, and a thread for host functions may send between.
        cost = figures["security"]
        expect(abs(cost["sealed"]["records"] - figures["records_out"]) <= 2 and
               cost["opened"]["processor_seconds"] > 0 and cost["percent_of_time"] > 0,
               f"the cost of encryption is not told, or wrong: {cost}")
    expect(expected.returncode == 0, f"both alike, but wrong: {describe(expected)}")


def through(build, name):
    path = program(build, name)
    with Pool(build) as pool:
        same_as_alone(build, path, lambda **more: pool.run([path], **more), pool.folder)


def loopback(build, name):
    """Client and worker in the program's process: tests/support/loopback_shim."""
    path = program(build, name)
    environment = clean_environment() | preload(build / "lib" / "loopback" / "libcuda.so.1") | {
        "FARCALL_DRIVER": str(software_gpu(build)), "FARCALL_OFF": OFF, "FARCALL_SERVER": "loopback",
        "FARCALL_CERT": "none", "FARCALL_KEY": "none", "FARCALL_CA": "none",
        # The program's end is the worker's here, in the middle of its work: nobody joins its threads.
        "TSAN_OPTIONS": "report_thread_leaks=0"}
    with tempfile.TemporaryDirectory(prefix="farcall-test-") as folder:
        same_as_alone(build, path, lambda **more: run([path], environment | more),
                      pathlib.Path(folder))


if __name__ == "__main__":
    main({"alone": alone, "through": through, "loopback": loopback})
