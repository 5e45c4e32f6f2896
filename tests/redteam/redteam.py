#!/usr/bin/env python3
"""Somebody has taken a worker over: what they try, and how it ends.

Usage: redteam.py BUILD [--user NAME] [--control] [--table]

A server is started whose CUDA driver is a library of the test's own, and for each move of
tests/redteam/moves_*.cpp a client process whose worker makes that move, in its sandbox, in the
middle of a call. Every move must fail: with an error, or by the end of the worker, of which the
server's log must tell.

  --user NAME  the server runs as this user (who starts it must be root)
  --control    the same with --sandbox off, and only moves that break nothing where they work:
               they must work, or else the table above proves nothing. A move that this machine
               refuses to a process of no server, too (a container without a keyring, a kernel
               without its 32-bit door), is told and left out
  --move WORDS only moves with these words in their names

Exit code: 0 if every move failed (with --control: worked), 1 if not, 77 if it cannot be tried here.
"""
import argparse
import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import pool as pools  # noqa: E402

# What works for any process that is not in a sandbox and has no terminal, whoever its user is.
# Nothing else is ever tried without one.
CONTROL = {
    "read /etc/passwd", "read the server's private key", "read the worker's own program",
    "list the host's root", "list the host's processes", "list others' shared memory",
    "read the supervisor's environment", "write to /tmp", "write to /var/tmp", "signal the supervisor",
    "connect to the supervisor's port", "connect to another port of loopback", "listen on loopback",
    "open a netlink socket", "connect to an abstract socket", "send UDP", "run a shell",
    "map memory to write and execute",
    "make written memory executable", "start a process", "start a process by clone3",
    "outlive the supervisor", "make a user namespace", "make System V shared memory",
    "make a System V semaphore", "add a key to it", "call the kernel by its 32-bit door",
}
# Of these, what no machine that can run the tests refuses to a process of its own.
EVERYWHERE = {
    "read /etc/passwd", "read the server's private key", "list the host's root",
    "list the host's processes", "write to /tmp", "connect to the supervisor's port",
    "connect to another port of loopback", "listen on loopback", "send UDP", "run a shell",
    "start a process",
}
PLAIN = """
import ctypes, os, sys
os._exit(ctypes.CDLL(sys.argv[1]).redteam_move_make(int(sys.argv[2])))
"""
CLIENT = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
context, address = ctypes.c_void_p(), ctypes.c_uint64()
for call in (lambda: cuda.cuInit(0),
             lambda: cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
             lambda: cuda.cuCtxSetCurrent(context)):
    status = call()
    if status:
        sys.exit(f"no session: {status}")
status = cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(int(sys.argv[1]) + 1))
print("ended" if status else (address.value - (1 << 32)) // 256, flush=True)
"""


class RedPool(pools.Pool):
    """A server with the hostile driver, told where its targets are."""

    def __init__(self, build, off, user):
        super().__init__(build, driver=build / "lib/redteam/redteam.so",
                         port=pools.free_ports(1)[0], server_user=user,
                         server_words=["--sandbox", "off" if off else "best"])

    def start_server(self):
        os.chmod(self.folder, 0o755)
        mount = self.folder / "mount"
        mount.mkdir(mode=0o777)
        images = self.folder / "images" / ("0" * 32)  # another tenant's
        images.mkdir(parents=True, mode=0o700)
        (images / "image").write_bytes(b"x")
        self.other = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        if os.path.isdir("/dev/shm"):  # somebody's, to be found there
            self.shared = tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="farcall-redteam-")
        name = f"farcall-redteam-{os.getpid()}"
        self.abstract.bind("\0" + name)
        self.abstract.listen()
        key = self.folder / f"{self.folder.name}.key"
        self.server_environment |= {
            "FARCALL_REDTEAM_KEY": str(key), "FARCALL_REDTEAM_FOLDER": str(self.folder),
            "FARCALL_REDTEAM_IMAGES": str(images), "FARCALL_REDTEAM_MOUNT": str(mount),
            "FARCALL_REDTEAM_PORT": str(self.listens_on),
            "FARCALL_REDTEAM_OTHER_PORT": str(self.other.getsockname()[1]),
            "FARCALL_REDTEAM_ABSTRACT": name}
        super().start_server()

    def await_log_after(self, words, lines):
        """Returns when one of the lines after so many holds these words."""
        with self._log_grew:
            told = self._log_grew.wait_for(
                lambda: any(words in line for line in self.log[lines:]), pools.PATIENCE_S)
        pools.expect(told, f"the server's log does not tell of {words!r}: {''.join(self.log)}")


def names(build):
    driver = ctypes.CDLL(str(build / "lib/redteam/redteam.so"))
    driver.redteam_move_name.restype = ctypes.c_char_p
    found = []
    while (name := driver.redteam_move_name(len(found))) is not None:
        found.append(name.decode())
    return found


def ended(pool, before):
    """How the worker of the session that ended last did, by the server's log."""
    pool.await_log_after("ended, worker", before)
    told = "".join(pool.log[before:])
    if "killed by its sandbox" in told:
        return "killed: " + told.split("it asked for ")[1].split("\n")[0]
    return "killed: " + told.split("ended, worker ")[1].split("\n")[0]


def make(pool, move):
    """What became of the move, and whether that is a failure of it."""
    before = len(pool.log)
    done = pool.run([sys.executable, "-c", CLIENT, str(move)])
    word = done.stdout.strip()
    if word == "ended":
        return ended(pool, before), True
    if not word.isdigit():
        raise pools.Failure(f"the client said {done.stdout!r} {done.stderr!r}")
    error = int(word)
    return ("it worked", False) if error == 0 else (f"refused: {os.strerror(error)}", True)


def refused_by_machine(build, pool, move, name):
    """How the move ends in a process of no server; None if it works there."""
    done = subprocess.run([sys.executable, "-c", PLAIN, build / "lib/redteam/redteam.so", str(move)],
                          env=os.environ | pool.server_environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          timeout=pools.PATIENCE_S)
    if done.returncode == 0:
        return None
    why = os.strerror(done.returncode) if done.returncode > 0 else f"signal {-done.returncode}"
    pools.expect(name not in EVERYWHERE, f"{name!r} fails in a process of no server: {why}")
    return why


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--user")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--move", default="")
    options = parser.parse_args()
    if options.user and os.geteuid() != 0:
        pools.skip(f"only root can start a server of {options.user}'s")
    build = options.build.resolve()
    all_moves = list(enumerate(names(build)))
    unknown = (CONTROL | EVERYWHERE) - {name for _, name in all_moves}
    pools.expect(not unknown, f"no such moves: {unknown}")
    pools.expect(any(options.move in name for _, name in all_moves),
                 f"no move has {options.move!r} in its name")
    chosen = [(number, name) for number, name in all_moves
              if options.move in name and (not options.control or name in CONTROL)]
    bad = made = 0
    with RedPool(build, options.control, options.user) as pool:
        pools.expect(options.control == any("--sandbox off" in line for line in pool.log),
                     "the server's log does not tell of its sandbox")
        for line in pool.log:
            if "sandbox:" in line:
                print(line.split("sandbox: ")[1].strip())
        for number, name in chosen:
            why = refused_by_machine(build, pool, number, name) if options.control else None
            if why:
                print(f"--  {name:52} this machine refuses it to anybody: {why}", flush=True)
                continue
            made += 1
            outcome, failed = make(pool, number)
            bad += failed == options.control
            verdict = "ok " if failed != options.control else "BAD"
            print(f"{verdict} {name:52} {outcome}", flush=True)
    wanted = "worked" if options.control else "failed"
    print(f"{made - bad} of {made} moves {wanted}, as they should")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except pools.Failure as failure:
        print(failure)
        sys.exit(1)
