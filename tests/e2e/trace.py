#!/usr/bin/env python3
"""FARCALL_TRACE and farcall explain with real programs.

Usage: trace.py BUILD explained | survives
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import Pool, clean_environment, ends_within, expect, main, program, run  # noqa: E402


def explain(pool, trace, *words):
    done = run([pool.farcall, "explain", trace, *words], clean_environment())
    expect(done.returncode == 0, f"explain: {done.stdout}{done.stderr}")
    return done.stdout


def explained(build):
    program(build, "host_threads")
    with Pool(build) as pool:
        trace, figures = pool.folder / "run.trace", pool.folder / "figures.json"
        done = pool.run([pool.program("host_threads")], FARCALL_TRACE=str(trace),
                        FARCALL_STATS=str(figures))
        expect(done.returncode == 0, f"host_threads: {done.stdout}{done.stderr}")
        counted = json.loads(figures.read_text())
        told = json.loads(explain(pool, trace, "-o", "json"))
        expect(told["is_whole"] and told["dropped"] == 0, "the trace is not whole")
        expect(told["program"] == "host_threads", f"made by {told['program']}?")
        expect(told["threads"] > 1, "only one thread was seen")
        # The same calls, whether counted or written down.
        for kind, name in (("queued", "queued"), ("sync", "waited_for")):
            for function, calls in counted["calls"][kind].items():
                if function == "total":
                    continue
                seen = [one[name] for one in told["functions"] if one["name"] == function]
                expect(seen == [calls], f"{function} {kind}: counted {calls}, traced {seen}")
        expect(told["total"]["round_trips"] == counted["round_trips"],
               f"{told['total']['round_trips']} round trips, not {counted['round_trips']}")
        # nvcc linked the runtime into the program; who called it is the program's own function.
        callers = [one["name"] for one in told["callers"]]
        expect(any(name.endswith("in host_threads") for name in callers), f"callers: {callers}")
        expect(not any("cudart" in name for name in callers), f"the runtime is no caller: {callers}")
        expect("Who calls" in explain(pool, trace), "no table of callers")
        page = explain(pool, trace, "-o", "html", "--rtt", "5ms", "--bandwidth", "1Gbit/s")
        expect("<svg" in page and "cuLaunchKernel" in page, "no pictures")
        for wrong in (["--rtt", "fast"], ["--bandwidth", "1"]):
            done = run([pool.farcall, "explain", trace, *wrong], clean_environment())
            expect(done.returncode == 2 and "write for instance" in done.stderr, done.stderr)


def survives(build):
    program(build, "fork_child")
    with Pool(build) as pool:
        # Children let go of their parent's trace.
        trace = pool.folder / "fork.trace"
        done = pool.run([pool.program("fork_child")], FARCALL_TRACE=str(trace))
        expect(done.returncode == 0, f"fork_child: {done.stdout}{done.stderr}")
        told = json.loads(explain(pool, trace, "-o", "json"))
        expect(told["is_whole"], "the parent's trace is not whole")
        expect(all(one["waited_for"] > 0 for one in told["functions"] if "DtoH" in one["name"]),
               "the parent's copies are missing")

        # Two at a time do not write one file, and a kill leaves what was written.
        trace = pool.folder / "killed.trace"
        victims, files = [], [trace]
        for _ in range(2):
            victims.append(pool.start([pool.program("endless_calls")], FARCALL_TRACE=str(trace)))
            victims[-1].stdout.readline()
        files.append(pool.folder / f"killed.trace.{victims[1].pid}")
        for victim, file in zip(victims, files):
            pid_fd = os.pidfd_open(victim.pid)
            while file.stat().st_size < 4096:
                expect(not ends_within(pid_fd, 0.05), "endless_calls ended by itself")
            victim.kill()
            victim.communicate()
            told = explain(pool, file)
            expect("cuLaunchKernel" in told and "the program was killed" in told, told)


if __name__ == "__main__":
    main({"explained": explained, "survives": survives})
