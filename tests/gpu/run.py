"""Proves this build on a machine with NVIDIA's driver: everything twice, on the GPU directly and
through Farcall over the loopback interface, compared.

Usage: ./run --out FOLDER [--only SECTIONS] [--driver FILE] [--seconds N]

Sections: parity (tests/parity: recorded on the GPU, and the same answers through Farcall, deferred
and strict), programs (tests/e2e/programs: same output, same exit code), calls (tools/bench/calls:
what a call costs), frameworks (cuBLAS, cuDNN, cuFFT, cuRAND, NVRTC, PyTorch, CuPy, JAX, Numba,
Triton, where they are installed: same results, time of a step), tools (nvidia-smi). The table comes
last; FOLDER keeps it, the figures as JSON, every program's output and log, the parity record to be
committed as tests/parity/recorded/<driver>-<gpu>.txt, and refused.txt: every call that was refused
and every private table that is not served, by program. Exit code 0 when all that ran agreed.
"""
import argparse
import contextlib
import datetime
import io
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SECTIONS = ("parity", "programs", "calls", "frameworks", "tools")
# They run until they are killed, wait for input, need arguments to be of use, or make mistakes on
# purpose: for other tests. The same as tests/e2e/CMakeLists.txt leaves out.
NOT_COMPARED = {"managed_orphan", "endless_calls", "carry_pattern", "step_loop", "failed_launch",
                "large_image", "backlog", "quota_fill", "share_greedy", "mistakes", "between_devices"}


def find_driver():
    """NVIDIA's libcuda.so.1, or a message."""
    known = [pathlib.Path("/usr/local/nvidia/lib64/libcuda.so.1"),
             pathlib.Path("/usr/lib/x86_64-linux-gnu/libcuda.so.1")]
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    known += [pathlib.Path(line.split("=>")[1].strip()) for line in listed.splitlines()
              if line.strip().startswith("libcuda.so.1 ") and "x86-64" in line]
    for path in known:
        if path.is_file():
            return path.resolve()
    sys.exit("no libcuda.so.1 here: this machine has no NVIDIA driver (--driver names another)")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the results")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by comma")
    parser.add_argument("--driver", type=pathlib.Path, help="default: NVIDIA's, where it is found")
    parser.add_argument("--seconds", type=int, default=180, help="longest a program may run")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; known are {SECTIONS}")
    return options


class Outcome:
    """One program, run both ways."""

    def __init__(self, section, name):
        self.section, self.name = section, name
        self.verdict, self.note = "", ""
        self.seconds = {}
        self.figures = {}

    def row(self):
        times = "".join(f"{self.seconds.get(how, float('nan')):10.2f}" for how in WAYS)
        return f"{self.section:11}{self.name:34}{self.verdict:10}{times}  {self.note}"


WAYS = ("native", "farcall")


class Runner:
    def __init__(self, options, pool, clean_environment):
        self.options, self.pool, self.clean = options, pool, clean_environment
        self.out = options.out

    def environment(self, how, name):
        if how == "farcall":
            nvml = self.pool.build / "lib" / "libnvidia-ml.so.1"
            return self.pool.environment(
                LD_PRELOAD=" ".join(str(library) for library in (self.pool.shim, nvml)
                                    if library.is_file()),
                FARCALL_STATS=str(self.out / f"{name}.stats.json"),
                FARCALL_LOG=f"debug:{self.out / f'{name}.client.log'}")
        # Programs load the driver by name; natively it must be this one and no other.
        return self.clean | {"LD_PRELOAD": str(self.pool.driver)}

    def run(self, how, name, command):
        """Exit code (or None when it hung) and output; the log keeps both streams."""
        environment = self.environment(how, name)
        begin = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], env=environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, errors="replace",
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=self.options.seconds)
            code = process.returncode
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            out, err = process.communicate()
            code = None
        took = time.monotonic() - begin
        (self.out / f"{name}.{how}.log").write_text(f"exit code {code}\n{out}\n--- stderr\n{err}")
        return code, out, took

    def went_far(self, name):
        """Whether the session's own figures say that calls went to the server."""
        stats = self.out / f"{name}.stats.json"
        return stats.is_file() and json.loads(stats.read_text())["round_trips"] > 0

    def both(self, section, name, command, figures=False):
        outcome = Outcome(section, name)
        results = {}
        for stale in self.out.glob(f"{name}.*"):
            stale.unlink()
        for how in WAYS:
            file = self.out / f"{name}.{how}.json"
            words = [*command, "--json", file] if figures else command
            code, text, outcome.seconds[how] = self.run(how, name, words)
            results[how] = (code, text)
            if figures and file.is_file():
                outcome.figures[how] = {row["name"]: row for row in json.loads(file.read_text())}
        native, remote = results["native"], results["farcall"]
        if native[0] == 77:
            outcome.verdict, outcome.note = "skipped", native[1].strip().splitlines()[-1]
        elif native[0] is None:
            outcome.verdict, outcome.note = "skipped", "hangs on the GPU directly"
        elif native[0] != 0:
            outcome.verdict, outcome.note = "FAILS", f"on the GPU directly: exit code {native[0]}"
        elif remote[0] is None:
            outcome.verdict, outcome.note = "HANGS", f"over {self.options.seconds} s"
        elif native[0] != remote[0]:
            outcome.verdict, outcome.note = "DIFFERS", f"exit code {remote[0]}, not {native[0]}"
        elif native[1] != remote[1] and section not in ("calls", "tools"):
            outcome.verdict, outcome.note = "DIFFERS", "in what it prints"
        elif section != "tools" and not self.went_far(name):
            outcome.verdict, outcome.note = "LOCAL", "did not go through Farcall"
        else:
            outcome.verdict = "same"
        print(outcome.row(), flush=True)
        return outcome


def parity(runner, bundle):
    """The record of this driver, and the same bodies through Farcall."""
    sys.path.insert(0, str(HERE.parent / "parity"))
    import parity as bodies
    for name, run in (
            ("record", lambda: bodies.record(bundle, runner.out / "parity.txt", runner.pool.driver)),
            ("deferred", lambda: bodies.through(bundle, False, runner.pool.driver)),
            ("strict", lambda: bodies.through(bundle, True, runner.pool.driver))):
        outcome = Outcome("parity", name)
        told = io.StringIO()
        begin = time.monotonic()
        try:
            with contextlib.redirect_stdout(told):
                run()
            outcome.verdict = "same"
            outcome.note = told.getvalue().strip().splitlines()[-1]
        except bodies.Failure as failure:
            outcome.verdict = "DIFFERS"
            outcome.note = str(failure).split(":", maxsplit=1)[0]
            told.write(str(failure))
        outcome.seconds["farcall"] = time.monotonic() - begin
        (runner.out / f"parity.{name}.log").write_text(told.getvalue())
        print(outcome.row(), flush=True)
        yield outcome


def tools(runner, _bundle):
    smi = shutil.which("nvidia-smi")
    if smi is None:
        outcome = Outcome("tools", "nvidia-smi")
        outcome.verdict, outcome.note = "skipped", "no nvidia-smi here"
        print(outcome.row(), flush=True)
        yield outcome
        return
    for name, words in (("nvidia-smi", []), ("nvidia-smi-list", ["-L"]),
                        ("nvidia-smi-query", ["--query-gpu=name,memory.total", "--format=csv"])):
        yield runner.both("tools", name, [smi, *words])


def programs(runner, bundle):
    for path in sorted((bundle / "e2e").iterdir()):
        if path.name not in NOT_COMPARED:
            yield runner.both("programs", path.name, [path])


def calls(runner, bundle):
    yield runner.both("calls", "calls", [bundle / "bin" / "bench_calls"], figures=True)


def frameworks(runner, _bundle):
    for path in sorted((HERE / "programs").glob("*.py")):
        if not path.stem.startswith("_"):
            yield runner.both("frameworks", path.stem, [sys.executable, path], figures=True)


def refused(out):
    """What programs asked for in vain, as their logs tell: (lines, how many kinds)."""
    found = {}
    for file in sorted(out.glob("*.client.log")):
        for line in file.read_text(errors="replace").splitlines():
            hit = re.search(r"\w+ is refused: .*|private table .*(?:not served).*", line)
            if hit:
                found.setdefault(hit.group(), set()).add(file.name.removesuffix(".client.log"))
    return [f"{what}\n    {', '.join(sorted(who))}" for what, who in sorted(found.items())]


def figures_table(outcomes):
    lines = [f"{'':44}{'native':>12}{'farcall':>12}{'ratio':>9}"]
    for outcome in outcomes:
        native, remote = (outcome.figures.get(how, {}) for how in WAYS)
        for name, row in native.items():
            if name not in remote:
                continue
            a, b = row["median"], remote[name]["median"]
            ratio = f"{b / a:9.2f}" if a else ""
            lines.append(f"{outcome.name + ': ' + name:44}{a:12.4g}{b:12.4g}{ratio} {row['unit']}")
    return lines


def machine(driver):
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as why:
        gpu = f"unknown ({why})"
    return [f"date      {datetime.date.today()}",
            f"gpu       {gpu}",
            f"driver    {driver}",
            f"kernel    {platform.release()}, {os.cpu_count()} cores"]


def main():
    options = parse_arguments()
    bundle = options.bundle.resolve()
    sys.path.insert(0, str(HERE.parent / "e2e"))
    import pool as pools  # the one the end-to-end tests use

    options.out.mkdir(parents=True, exist_ok=True)
    options.out = options.out.resolve()
    driver = (options.driver or find_driver()).resolve()
    if options.driver and not driver.is_file():
        driver = bundle / options.driver  # one of the bundle's own
    outcomes = []
    with pools.Pool(bundle, driver=driver) as pool:
        runner = Runner(options, pool, pools.clean_environment())
        for section in options.only.split(","):
            outcomes += list({"parity": parity, "programs": programs, "calls": calls,
                              "frameworks": frameworks, "tools": tools}[section](runner, bundle))
        (options.out / "server.log").write_text("".join(pool.log))
    version = (bundle / "version").read_text().strip() if (bundle / "version").is_file() else "?"
    in_vain = refused(options.out)
    (options.out / "refused.txt").write_text("\n".join(in_vain) + "\n" if in_vain else "")
    bad = [o for o in outcomes if o.verdict in ("DIFFERS", "HANGS", "FAILS", "LOCAL")]
    skipped = [o for o in outcomes if o.verdict == "skipped"]
    table = [f"farcall   {version}", *machine(driver), "",
             f"{'':11}{'':34}{'':10}{'native s':>10}{'farcall s':>10}",
             *[o.row() for o in outcomes], "", *figures_table(outcomes), "",
             f"{len(outcomes) - len(bad) - len(skipped)} same, {len(bad)} differ, fail or hang, "
             f"{len(skipped)} skipped; {len(in_vain)} kinds of calls and tables refused (refused.txt)"]
    (options.out / "table.txt").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
