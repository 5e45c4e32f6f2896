#!/usr/bin/env python3
"""Failures that another call reports: the log says whose they are.

Usage: errors.py BUILD launch | fault | strict
"""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import Pool, clean_environment, expect, main, program, run  # noqa: E402


def failed_launch(pool, mode, **more):
    """What the program was told, what the log said, and the session's figures."""
    figures = pool.folder / "figures.json"
    done = pool.run([pool.program("failed_launch"), mode], FARCALL_LOG="warn",
                    FARCALL_STATS=str(figures), **more)
    expect(done.returncode == 0, f"failed_launch: {done.stdout}{done.stderr}")
    print(done.stdout + done.stderr, end="")
    return done.stdout, done.stderr, json.loads(figures.read_text())


def launch(build):
    program(build, "failed_launch")
    with Pool(build) as pool:
        trace = pool.folder / "run.trace"
        told, log, figures = failed_launch(pool, "gone", FARCALL_TRACE=str(trace))
        expect(told == "launch: cudaSuccess\nsynchronize: cudaErrorInvalidResourceHandle\n", told)
        said = re.search(r"warn: cuLaunchKernel\(saxpy\) failed earlier \(call (\d+)\): "
                         r"CUDA_ERROR_INVALID_HANDLE; reported by cuCtxSynchronize\w* \(call (\d+)\)\n",
                         log)
        expect(said and int(said[1]) < int(said[2]), f"the log does not say so: {log}")
        expect(log.count("\n") == 1, f"it says more than that: {log}")
        expect(figures["failed_earlier"] == {"total": 1, "cuLaunchKernel": 1}, str(figures))
        page = run([pool.farcall, "explain", trace, "-o", "json"], clean_environment())
        advice = json.loads(page.stdout)["advice"]
        expect(any(re.match(r"1 call failed .*: cuLaunchKernel \(1\)", one) for one in advice),
               str(advice))


def fault(build):
    program(build, "failed_launch")
    with Pool(build) as pool:
        told, log, figures = failed_launch(pool, "fault")
        expect(told == "launch: cudaSuccess\nsynchronize: cudaErrorIllegalAddress\n", told)
        expect(re.search(r"CUDA_ERROR_ILLEGAL_ADDRESS reported by cuCtxSynchronize\w* \(call \d+\): a "
                         r"kernel faulted, and no device says which; launched last: "
                         r"saxpy \(call \d+\), scale \(call \d+\)", log), log)
        expect(figures["failed_earlier"] == {"total": 0}, str(figures))


def strict(build):
    program(build, "failed_launch")
    with Pool(build) as pool:
        told, log, figures = failed_launch(pool, "gone", FARCALL_STRICT="1")
        expect(told == "launch: cudaErrorInvalidResourceHandle\nsynchronize: cudaSuccess\n", told)
        expect(log == "" and figures["failed_earlier"] == {"total": 0}, f"{log}{figures}")


if __name__ == "__main__":
    main({case.__name__: case for case in (launch, fault, strict)})
