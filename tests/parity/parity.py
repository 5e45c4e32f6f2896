#!/usr/bin/env python3
"""Every body of the parity program on a driver directly and through Farcall, compared line by line.

Usage: parity.py BUILD direct|deferred|strict
       parity.py BUILD record FILE [DRIVER]     what DRIVER answers, as recorded/*.txt are
       parity.py BUILD against FILE [DRIVER]    DRIVER held to such a record
       parity.py BUILD show DRIVER [BODY…]      the lines alone
DRIVER: a libcuda.so.1; default: the software GPU.

direct: the software GPU alone: no body crashes, what cuda.h is explicit about holds, and it answers
what the records of real drivers in recorded/ say. deferred, strict: through Farcall, without and
with FARCALL_STRICT=1, the same as directly. What may differ stands in known_differences.txt, each
line with its reason; one that no longer differs must go.
"""
import collections
import datetime
import fnmatch
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from pool import PATIENCE_S, Failure, Pool, clean_environment, expect, main, run, skip, software_gpu

KNOWN = HERE / "known_differences.txt"
RECORDED = HERE / "recorded"
# Room for bodies about more than 4 GiB; the pages are not touched.
SOFTWARE = {"FARCALL_SOFTGPU_MEMORY": "12G", "FARCALL_SOFTGPU_THREADS": "2"}
SHOWN_MAX = 40  # findings; more say the same
BODY_S, HANGING_MAX = 60, 3  # main.cpp ends a body that hangs; where more do, the whole run is over


class Known:
    """The reviewed list: "where | body: step | its value (patterns) | reason"."""

    def __init__(self, where):
        self.rows, self.used = [], set()
        for number, line in enumerate(KNOWN.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = [part.strip() for part in line.split(" | ")]
            expect(len(parts) == 4 and parts[3], f"{KNOWN.name}:{number}: not four parts: {line}")
            if where in parts[0].split():
                self.rows.append((parts[1], parts[2], number))

    def allows(self, key, is_now):
        for step, pattern, number in self.rows:
            # Brackets are indices in a step's text, not sets of letters.
            if all(fnmatch.fnmatchcase(text, form.replace("[", "[[]"))
                   for text, form in ((key, step), (is_now, pattern))):
                self.used.add(number)
                return True
        return False

    def stale(self, ran):
        """Rows that nothing needed, of bodies that ran."""
        return [f"{KNOWN.name}:{number}: nothing differs so any more: {step}"
                for step, _, number in self.rows
                if number not in self.used and (step.split(":")[0] in ran or "*" in step)]


def unneeded(known, ran, driver):
    """The list is reviewed on the software GPU; of other drivers some rows say nothing."""
    return known.stale(ran) if driver is None else []


def split(line):
    """("body: step", "=" or "~", value) of one line."""
    for mark in (" = ", " ~ "):
        key, found, is_now = line.rpartition(mark)
        if found:
            return key, mark.strip(), is_now
    return line, "", ""


def by_body(lines):
    bodies = collections.OrderedDict()
    for line in lines:
        if not line.startswith("!"):
            bodies.setdefault(line.split(":")[0], []).append(line)
    return bodies


def crashed(lines):
    return next((line for line in lines if ": ended by = " in line), None)


def differences(expected, found, known, facts=True):
    """What `found` says otherwise than `expected`, body by body, in words."""
    told = []
    for body, lines in expected.items():
        mine = found.get(body, [])
        if crashed(lines):
            continue  # nothing can be asked of a body that the driver itself does not survive
        ended = crashed(mine)
        if ended and not known.allows(*(split(ended)[i] for i in (0, 2))):
            told.append(ended)
        for at, line in enumerate(lines):
            key, mark, is_now = split(line)
            other = split(mine[at]) if at < len(mine) else ("", "", "missing")
            if mark == "~" and not facts:
                continue
            if at < len(mine) and other[0] != key:
                told.append(f"{line}\n    but another step: {mine[at]}")
                break
            if other[2] != is_now and not known.allows(key, other[2]):
                told.append(f"{key}\n    {is_now}\n    {other[2]}")
            if at >= len(mine):
                break
    return told


def report(told, what):
    if told:
        more = f"\nand {len(told) - SHOWN_MAX} more" if len(told) > SHOWN_MAX else ""
        raise Failure(f"{len(told)} {what}:\n" + "\n".join(told[:SHOWN_MAX]) + more)


def ask(build, driver, environment, bodies=()):
    done = run([build / "bin" / "parity", driver, *bodies], environment,
               patience_s=PATIENCE_S + BODY_S * HANGING_MAX)
    expect(done.returncode == 0, f"parity {driver}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout.splitlines()


def directly(build, driver=None, bodies=()):
    return ask(build, driver or software_gpu(build), clean_environment() | SOFTWARE, bodies)


def counted(lines):
    steps = sum(1 for line in lines if split(line)[1])
    return f"{len(by_body(lines))} bodies, {steps} steps"


def records():
    return sorted(RECORDED.glob("*.txt"))


def direct(build):
    lines = directly(build)
    known = Known("documentation")
    told = [ended for body in by_body(lines).values() if (ended := crashed(body))]
    for line in lines:
        if line.startswith("! "):
            key, _, wanted = line[2:].rpartition(" says ")
            if not known.allows(key, wanted):
                told.append(line)
    told += known.stale(by_body(lines))
    report(told, "answers of the software GPU that are not what the documentation says")
    for record in records():
        against(build, record)
    print(f"{counted(lines)}; records of real drivers: {len(records())}")


def through(build, strict, driver=None):
    where = "strict" if strict else "deferred"
    expected = directly(build, driver)
    with Pool(build, driver=driver, server_environment=SOFTWARE) as pool:
        stats = pool.folder / "stats.json"
        environment = pool.environment(FARCALL_STRICT=str(int(strict)))
        ask(build, pool.shim, environment | {"FARCALL_STATS": str(stats)}, ["copy_both_ways"])
        expect(json.loads(stats.read_text())["round_trips"] > 0, "nothing went through Farcall")
        found = ask(build, pool.shim, environment)
    known = Known(where)
    told = differences(by_body(expected), by_body(found), known)
    told += unneeded(known, by_body(expected), driver)
    report(told, f"differences through Farcall ({where})")
    print(f"{counted(found)} through Farcall ({where}), "
          f"{len(known.used)} kinds of known differences")


def machine(driver):
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = run(query, clean_environment())
        return done.stdout.strip().splitlines()[0] if done.returncode == 0 else str(driver)
    except OSError:
        return str(driver)


def record(build, file, driver=None):
    lines = directly(build, driver)
    head = [f"# {machine(driver or software_gpu(build))}",
            f"# {datetime.date.today()}, {counted(lines)}",
            "# ~ belongs to that device; ! is not what cuda.h says"]
    pathlib.Path(file).write_text("\n".join(head + lines) + "\n")
    print(f"{file}: {counted(lines)}")


def against(build, file, driver=None):
    wanted = [line for line in pathlib.Path(file).read_text().splitlines()
              if not line.startswith("#")]
    bodies = by_body(wanted)
    known = Known("record")
    found = by_body(directly(build, driver, ()))
    report(differences(bodies, found, known, facts=False), f"answers other than those of {file}")


def show(build, driver, *bodies):
    print("\n".join(directly(build, pathlib.Path(driver), bodies)))


if __name__ == "__main__":
    main({"direct": direct, "deferred": lambda build: through(build, False),
          "strict": lambda build: through(build, True), "record": record, "against": against,
          "show": show})
