#!/usr/bin/env python3
"""The threat model in security/README.md names tests: each of them is there.

Usage: threats.py README BUILD-FOLDER CTEST

A name there is part of the name of one test or several. Exit status: 0 all are there; 1 some are not,
or the table names none; 77 this build lacks the tests with real programs (no nvcc), so nothing can be told.
"""

import pathlib
import re
import subprocess
import sys


def named(text):
    """The names in the last column of the table of the section on the threat model."""
    section = re.search(r"^## Threat model\n(.*?)^## ", text, re.S | re.M)
    rows = [row for row in section[1].splitlines() if row.startswith("|")] if section else []
    return [name for row in rows[2:] for name in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1])]


def main():
    readme, build, ctest = sys.argv[1:]
    listed = subprocess.run([ctest, "--test-dir", build, "-N"], check=True, capture_output=True,
                            text=True).stdout
    tests = re.findall(r"^ *Test +#\d+: (.*)$", listed, re.M)
    if not any(test.startswith("forensics:") for test in tests):
        print("this build has no tests with real programs")
        return 77
    names = named(pathlib.Path(readme).read_text())
    missing = [name for name in names if not any(name in test for test in tests)]
    for name in missing:
        print(f"{readme}: the threat model names '{name}', and no test is called so")
    print(f"{len(names) - len(missing)} of {len(names)} names are tests, among {len(tests)}")
    return 1 if missing or not names else 0


if __name__ == "__main__":
    sys.exit(main())
