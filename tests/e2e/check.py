#!/usr/bin/env python3
"""farcall check: it finds the mistake in programs that make one, and none in the others.

Usage: check.py BUILD mistake NAME | clean PROGRAM | words | served
"""
import pathlib

from pool import Pool, clean_environment, expect, main, program, run

HERE = pathlib.Path(__file__).resolve().parent

# What is said of the mistakes of programs/mistakes.cu, beside the source line.
TOLD = {
    "behind": "invalid write of 4 bytes, global memory",
    "freed": "which were freed",
    "unwritten": "read of 4 bytes that nobody wrote, global memory",
    "race": "race: ",
    "tile": "read of 4 bytes that nobody wrote, shared memory",
}


def check(build, *words):
    return run([build / "bin" / "farcall", "check", *words], clean_environment())


def describe(done):
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def line_of(mistake):
    lines = (HERE / "programs" / "mistakes.cu").read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        _, found, names = line.partition("// mistake: ")
        if found and mistake in names.split(", "):
            return f"(mistakes.cu:{number})"
    raise KeyError(mistake)


def mistake(build, name):
    done = check(build, "--", program(build, "mistakes"), name)
    expect(done.returncode == 1, f"the exit code says nothing: {describe(done)}")
    expect(done.stdout.startswith(f"mistakes: {name} ends with "), describe(done))
    for part in (TOLD[name], line_of(name), "by thread (", " found in 1 kernel"):
        expect(part in done.stderr, f"{part!r} is not told: {describe(done)}")


def clean(build, name, *words):
    done = check(build, "--", program(build, name), *words)
    expect("problem" in done.stderr, f"nothing was checked: {describe(done)}")
    expect("========= no problems found" in done.stderr and done.returncode == 0, describe(done))


def words(build):
    path = program(build, "mistakes")
    done = check(build, "--for", "race", "--", path, "unwritten")
    expect(done.returncode == 0 and "no problems found" in done.stderr, describe(done))
    done = check(build, "--error-exitcode", "0", "--", path, "race")
    expect(done.returncode == 0 and " found in 1 kernel" in done.stderr, describe(done))
    done = check(build, "--for", "leak", "--error-exitcode", "9", "--", path, "race")
    expect(done.returncode == 9 and "2 problems found" in done.stderr, describe(done))
    expect("256 bytes at 0x" in done.stderr and "from cuMemAlloc" in done.stderr, describe(done))
    done = check(build, "--for", "leak", "--", path, "none")
    expect(done.returncode == 0 and "no problems found" in done.stderr, describe(done))
    done = check(build, "--for", "sometimes", "--", path)
    expect(done.returncode == 2 and "sometimes" in done.stderr, describe(done))
    done = check(build, "--", "/nowhere/at/all")
    expect(done.returncode == 127, describe(done))


def served(build):
    """Behind Farcall the reports come out of the program's stderr, and nobody else's."""
    path = program(build, "mistakes")
    with Pool(build, server_environment={"FARCALL_SOFTGPU_CHECK": "1"}) as pool:
        done = pool.run([path, "race"])
        expect(done.returncode == 0 and "race: " in done.stderr, describe(done))
        expect(line_of("race") in done.stderr, describe(done))
        expect(not any("race: " in line for line in pool.log), pool.log)


if __name__ == "__main__":
    main({"mistake": mistake, "clean": clean, "words": words, "served": served})
