"""Many programs at once, one that does nothing, and one that is far ahead of its device.

Usage: crowd.py BUILD many_clients|idle_session|backlog

many_clients  64 sessions on this machine, all at work at the same time: each gets its data back
idle_session  the memory that a session holds while its program does nothing, at both ends
backlog       the most memory held while a program queues work faster than it is done, at both ends
"""
import os
import pathlib
import subprocess

from pool import Pool, clean_environment, expect, main, program

CLIENTS = 64
TURNS = 10
SHIM_BYTES_MAX = 8 << 20
WORKER_BYTES_MAX = 40 << 20
# Without bounds it would be a gigabyte for the copies, or 80 MiB for the launches. Where there are
# cores for it, copies pass through up to 128 MiB of staging.
BACKLOG_COPIES, BACKLOG_LAUNCHES = 1000, 300000
BACKLOG_BYTES_MAX = (64 if os.cpu_count() <= 2 else 192) << 20


class Session:
    """bench_session: prints a word at each stage and goes on when it is told to."""

    def __init__(self, build, words, environment):
        self.process = subprocess.Popen([build / "bin" / "bench_session", *words], text=True,
                                        env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def hear(self):
        return self.process.stdout.readline().strip()

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        out, err = self.process.communicate(timeout=100)
        expect(self.process.returncode == 0, f"a session ended badly: {out}{err}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def memory_of(pid, what):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    return 0


def many_clients(build):
    with Pool(build) as pool:
        sessions = [Session(build, ["share", str(TURNS)], pool.environment())
                    for _ in range(CLIENTS)]
        try:
            for session in sessions:
                expect(session.hear() == "ready", "a session did not open")
            for session in sessions:
                session.go()
            for session in sessions:
                expect(float(session.hear()) > 0, "a session did not finish its work")
                session.end()
        finally:
            for session in sessions:
                session.__exit__()


def copied_small(library, folder):
    """A fault maps what lies in one piece in the page cache. How large the pieces of a file are is
    the affair of who wrote it, and a linker writes large ones: pages nobody touched would count."""
    path = folder / library.name
    data = library.read_bytes()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, len(data), 4096):
            file.write(data[at:at + 4096])
    path.chmod(0o755)
    return path


def idle_session(build):
    with Session(build, ["idle"], clean_environment()) as bare:
        expect(bare.hear() == "bare", "the program did not start")
        without = memory_of(bare.process.pid, "Rss")
    with Pool(build) as pool:
        pool.shim = copied_small(pool.shim, pool.folder)
        with Session(build, ["idle"], pool.environment()) as session:
            session.hear()
            session.go()
            expect(session.hear() == "ready", "the session did not open")
            (worker,) = pool.workers()
            # Rss: the library's pages count, although all programs of a host share them.
            shim = memory_of(session.process.pid, "Rss") - without
            print(f"the shim holds {shim / (1 << 20):.1f} MiB, its library's pages included")
            expect(0 < shim < SHIM_BYTES_MAX, f"the shim holds {shim} bytes")
            held = memory_of(worker, "Pss")
            expect(0 < held < WORKER_BYTES_MAX, f"the worker holds {held} bytes")
            session.go()
            session.end()


def most_memory_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def backlog(build):
    path = program(build, "backlog")
    with Pool(build) as pool:
        busy = subprocess.Popen([path, str(BACKLOG_COPIES), str(BACKLOG_LAUNCHES)], text=True,
                                env=pool.environment(), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            heard = busy.stdout.readline()
            expect(heard == "worked off\n", heard or busy.communicate())
            (worker,) = pool.workers()
            for who, pid in (("program", busy.pid), ("worker", worker)):
                most = most_memory_of(pid)
                print(f"the {who} held {most / (1 << 20):.0f} MiB at most")
                expect(0 < most < BACKLOG_BYTES_MAX, f"the {who} held {most} bytes")
            busy.communicate(timeout=100)
            expect(busy.returncode == 0, f"exit code {busy.returncode}")
        finally:
            busy.kill()
            busy.communicate()


if __name__ == "__main__":
    main({"many_clients": many_clients, "idle_session": idle_session, "backlog": backlog})
