#!/usr/bin/env python3
"""What the project's own scripts conclude from what they saw, without running any program.

Usage: scripts_test.py
"""
import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True


def load(path):
    """A script of ours as a module; some have no .py."""
    name = path.replace("/", "_").removesuffix(".py")
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def leaves_out_what_the_end_to_end_tests_leave_out():
    text = (ROOT / "tests/e2e/CMakeLists.txt").read_text()
    removed = re.search(r"list\(REMOVE_ITEM names ([^)]*)\)", text)[1].split()
    assert load("tests/gpu/run.py").NOT_COMPARED == set(removed), removed


def reviewed_differences_are_of_the_software_gpu():
    parity = load("tests/parity/parity.py")
    known = parity.Known("strict")
    bodies = {step.split(":")[0]: [] for step, _, _ in known.rows}
    assert known.rows and parity.unneeded(known, bodies, None), "an unused row must not stay"
    assert not parity.unneeded(known, bodies, "/of/nvidia/libcuda.so.1")


def an_alias_needs_its_row():
    coverage = load("tools/coverage")
    found = [("f", "cuA", "API", None), ("f", "cuB", "SAME", "cuA")]
    assert coverage.kinds_of(found)["cuB"] == "API"
    try:
        coverage.kinds_of(found + [("f", "cuC", "SAME", "cuNone")])
    except SystemExit as end:
        assert "cuC" in str(end.code)
    else:
        raise AssertionError("cuC was counted")


def the_worst_run_of_a_sample_decides():
    judge = load("tools/samples").judge
    waived, failed, passed = (2, 1, "requires two GPUs"), (1, 1, "no"), (0, 1, "Test PASSED")
    assert judge([waived, failed], 60, None)[0] == "failed"
    assert judge([passed, waived, passed], 60, None)[0] == "waived"
    assert judge([passed, (None, 60, "")], 60, None) == ("failed", "over 60 s")
    assert judge([passed, passed], 60, None) == ("passed", "its own check")


def nothing_built_is_nothing_run():
    with tempfile.TemporaryDirectory() as folder:
        kernels = pathlib.Path(folder) / "dev/cuda"
        kernels.mkdir(parents=True)
        (kernels / "broken.cu").write_text("#error not to be built\n")
        ended = subprocess.run([ROOT / "tools/llm_kernels", folder, "--work", kernels / "work"],
                               capture_output=True, text=True, check=False,
                               env=os.environ | {"PATH": "/usr/bin:/bin"})
        assert ended.returncode == 2, ended
        assert "not built" in ended.stdout, ended


def a_program_that_ends_before_it_is_killed_has_ended():
    llm_kernels = load("tools/llm_kernels")
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        stubborn = ["sh", "-c", "trap '' TERM; echo All results match; sleep 600"]
        llm_kernels.END_S = 0.1
        assert llm_kernels.check(stubborn, 600, log) == ("passed", "its own check")
        with subprocess.Popen(["true"], start_new_session=True) as over:
            over.wait()
            llm_kernels.end(over, signal.SIGKILL)


def files_in_a_batch_share_no_name_of_their_own():
    batches = load("tools/cmake/batches.py")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def source(file, text):
            (folder / file).write_text(text)
            return batches.Source(folder, folder / file)

        one = source("one.cpp", "namespace farcall { namespace { int sum(int a) { return a; } } }")
        calls = source("calls.cpp", "#define HALF 2\nint seen() { return farcall::sum(1) + sum(2); }")
        member = source("member.cpp", "// sum\nint size(const Text& t) { return t.sum(); }")
        (folder / "alike.h").write_text("struct sum {};\nusing api::Kind;")
        knows = source("knows.cpp", '#include "alike.h"\nint nothing(Kind);')
        alias = source("alias.cpp", "namespace { using Kind = Finding::Kind; }")
        alone = source("alone.cpp", "// Compiled by itself: for a reason.\nint other();")
    made = [[s.path.name for s in batch]
            for batch in batches.batches([one, calls, member, knows, alone, alias], 8)]
    assert made == [["one.cpp", "member.cpp", "alias.cpp"], ["calls.cpp", "knows.cpp"],
                    ["alone.cpp"]], made
    text = batches.text_of([calls, knows]).splitlines()
    assert [line.split("/")[-1] for line in text] == [
        'alike.h"', 'calls.cpp"', "#undef HALF", 'knows.cpp"'], text


def main():
    for test in (leaves_out_what_the_end_to_end_tests_leave_out,
                 reviewed_differences_are_of_the_software_gpu,
                 an_alias_needs_its_row,
                 the_worst_run_of_a_sample_decides,
                 nothing_built_is_nothing_run,
                 files_in_a_batch_share_no_name_of_their_own,
                 a_program_that_ends_before_it_is_killed_has_ended):
        test()
        print(f"{test.__name__.replace('_', ' ')}: as it should be")


if __name__ == "__main__":
    main()
