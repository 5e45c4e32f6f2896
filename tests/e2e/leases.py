#!/usr/bin/env python3
"""Leases as people use them: nobody in without one, and nobody past its end.

Usage: leases.py BUILD CASE      CASE is one of the functions below
"""
import json
import os
import re

from pool import Pool, clean_environment, ends_within, expect, main, run, wait_for_any

FARCALL_FAILED = 125
PROMPT_S = 20  # far above the second that a revocation may take, far below a hang


class LeasedPool(Pool):
    """A server that lets nobody in without a lease, and who issues them."""

    def __init__(self, build, devices=1, words=()):
        super().__init__(build, server_environment={"FARCALL_SOFTGPU_DEVICES": str(devices)})
        self.more_words = words

    def start_server(self):
        self.issuer, self.list = self.folder / "lease", self.folder / "revoked.leases"
        self.lease("keygen", "--out", self.issuer)
        # A list with nothing of ours in it.
        self.lease("revoke", "--key", f"{self.issuer}.key", "--list", self.list, "0" * 32)
        self.server_words = ["--lease-keys", f"{self.issuer}.pub", "--lease-revoked", self.list,
                             *self.more_words]
        super().start_server()

    def lease(self, *words, code=0):
        done = run([self.farcall, "lease", *words], clean_environment())
        expect(done.returncode == code, f"farcall lease {words}: {done}")
        return done.stdout

    def issue(self, name, *words, client=None, server="localhost"):
        """A lease for the pool's client; its file."""
        path = self.folder / f"{name}.lease"
        certificate, _ = client or self.client
        self.lease("issue", "--key", f"{self.issuer}.key", "--for", certificate, "--server", server,
                   "--out", path, *words)
        return path

    def with_lease(self, command, path, client=None):
        certificate, key = client or self.client
        return run([self.farcall, "run", "--server", self.url(), "--cert", certificate, "--key",
                    key, "--ca", self.authority.ca, "--lease", path, "--", *command],
                   clean_environment())

    def refused(self, path, *words, client=None):
        done = self.with_lease(["true"], path, client)
        expect(done.returncode == FARCALL_FAILED and done.stdout == "", str(done))
        for word in words:
            expect(re.search(word, done.stderr), f"the message does not say {word!r}: {done.stderr}")
        print(done.stderr, end="")


def expect_works(pool, path):
    done = pool.with_lease([pool.program("vector_add")], path)
    expect(done.returncode == 0, f"{done.stdout}{done.stderr}")


def needed(build):
    """Refused without; let in with a lease from flag, variable or configuration file."""
    with LeasedPool(build) as pool:
        done = pool.farcall_run(["true"])
        expect(done.returncode == FARCALL_FAILED, str(done))
        for word in ("lets nobody in without a lease", "--lease FILE", "FARCALL_LEASE"):
            expect(word in done.stderr, done.stderr)
        done = pool.run([pool.program("vector_add")])
        expect(done.returncode == 1 and "cudaError" in done.stdout, str(done))
        expect(not pool.workers(), "a worker was started without a lease")
        path = pool.issue("ann")
        expect_works(pool, path)
        done = pool.run([pool.program("vector_add")], FARCALL_LEASE=str(path))
        expect(done.returncode == 0, str(done))
        certificate, key = pool.client
        home = pool.folder / "home"
        (home / "farcall").mkdir(parents=True)
        (home / "farcall" / "config.toml").write_text(
            f'server = "{pool.url()}"\ncert = "{certificate}"\nkey = "{key}"\n'
            f'ca = "{pool.authority.ca}"\nlease = "{path}"\n')
        for command in (["gpus"], ["smi"], ["netperf"]):
            done = run([pool.farcall, *command],
                       clean_environment() | {"XDG_CONFIG_HOME": str(home)})
            expect(done.returncode == 0, str(done))
        expect("user client of pool test" in pool.lease("show", path), "not told whose it is")


def others(build):
    """Another user's, another certificate's, another server's; edited; of a key nobody knows."""
    with LeasedPool(build) as pool:
        bob = pool.authority.client("bob")
        pool.refused(pool.issue("bobs", client=bob), "is user bob's of tenant acme")
        folder = pool.folder / "again"
        folder.mkdir()
        done = run([pool.farcall, "ca", "issue", "--dir", pool.authority.folder, "--out",
                    folder / "client", "--tenant", "acme", "--user", "client"],
                   clean_environment())
        expect(done.returncode == 0, str(done))
        mine = pool.issue("mine")
        pool.refused(mine, "another certificate of this user",
                     client=(folder / "client.crt", folder / "client.key"))
        pool.refused(pool.issue("elsewhere", server="gpu9"), "without a lease", "is for gpu9")
        lines = mine.read_text().splitlines()
        lines[2] = lines[2][:30] + ("B" if lines[2][30] == "A" else "A") + lines[2][31:]
        edited = pool.folder / "edited.lease"
        edited.write_text("\n".join(lines) + "\n")
        pool.refused(edited, "changed after key|no lease token")
        keys = f"{pool.issuer}.pub"
        said = pool.lease("verify", edited, "--keys", keys, code=1)
        expect("changed after key" in said or "no lease token" in said, said)
        expect("good" in pool.lease("verify", mine, "--keys", keys), "not good")
        expect("is bob" not in pool.lease("verify", mine, "--keys", keys, "--cert", bob[0], code=1),
               "another's certificate")
        pool.lease("verify", mine, "--keys", keys, "--server", "gpu2", code=1)
        pool.lease("keygen", "--out", pool.folder / "stranger")
        issuer, pool.issuer = pool.issuer, pool.folder / "stranger"
        foreign = pool.issue("foreign")
        pool.issuer = issuer
        pool.refused(foreign, "does not know", "--lease-keys")
        pool.refused(pool.issue("later", "--starts-in", "1h"), "not valid before", "clock")
        pool.refused(pool.folder / "nowhere", "nowhere: No such file")
        # A file of several: that for the server is shown.
        both = pool.folder / "both.lease"
        both.write_text((pool.folder / "elsewhere.lease").read_text() + mine.read_text())
        expect_works(pool, both)


def ends_with(pool, process, *words):
    with os.fdopen(os.pidfd_open(process.pid)) as pid_fd:
        ended = ends_within(pid_fd.fileno(), PROMPT_S)
    if not ended:
        process.kill()
    out, err = process.communicate()
    expect(ended, f"the program goes on, after {out!r} {err!r}")
    expect(process.returncode == 3 and out.startswith("cudaError") and "and stays so" in out,
           f"exit code {process.returncode}, {out!r} {err!r}")
    for word in words:
        expect(err.count(word) == 1, f"not told once that {word!r}: {err!r}")
    print(out + err, end="")


def running(pool, path):
    process = pool.start([pool.program("endless_calls")], FARCALL_LEASE=str(path))
    line = process.stdout.readline()
    if line != "ready\n":
        process.kill()
        expect(False, f"not ready but {line!r} {process.communicate()}")
    return process


def expires(build):
    """The lease ends while a program runs: its calls fail and it is told; the server goes on."""
    with LeasedPool(build) as pool:
        path = pool.issue("hour", "--time", "1h")
        process, neighbour = running(pool, path), running(pool, pool.issue("other"))
        workers = [os.pidfd_open(pid) for pid in pool.workers()]
        # A newer token of the lease, which ends sooner: nobody need wait for an hour.
        short = pool.folder / "short.lease"
        pool.lease("renew", path, "--key", f"{pool.issuer}.key", "--time", "10s", "--out", short)
        expect(pool.with_lease(["true"], short).returncode == 0, "the newer token is refused")
        ends_with(pool, process, "the lease has expired at")
        pool.refused(short, "has expired")
        pool.refused(path, "newer token|has expired")
        expect(neighbour.poll() is None, "another lease's program ended")
        ended = wait_for_any(workers, PROMPT_S)
        expect(len(workers) == 2 and len(ended) == 1, f"of {len(workers)} workers {len(ended)} ended")
        expect_works(pool, pool.issue("next"))
        neighbour.kill()
        neighbour.communicate()


def revoked(build):
    """farcall lease revoke ends a running session, and lets that lease in no more."""
    with LeasedPool(build) as pool:
        path = pool.issue("taken")
        process, neighbour = running(pool, path), running(pool, pool.issue("other"))
        pool.lease("revoke", "--key", f"{pool.issuer}.key", "--list", pool.list, path)
        ends_with(pool, process, "the lease was taken back")
        pool.refused(path, "taken back")
        expect(neighbour.poll() is None, "another lease's program ended")
        neighbour.kill()
        neighbour.communicate()


def calls(build):
    """Calls of families that the lease does not grant fail, and are told by name."""
    with LeasedPool(build) as pool:
        path = pool.issue("few", "--not-calls", "memset,graph")
        expect("all but memset, graph" in pool.lease("show", path), "not shown")
        expect_works(pool, path)
        done = pool.with_lease([pool.program("memset_and_pitched")], path)
        expect(done.returncode != 0 and "cudaErrorNotPermitted" in done.stdout, str(done))
        expect(done.stderr.count("does not grant calls of family 'memset'") == 1, done.stderr)
        only = pool.issue("only", "--calls", "device,context")
        done = pool.with_lease([pool.program("vector_add")], only)
        expect(done.returncode != 0 and "does not grant" in done.stderr, str(done))


def devices(build):
    """Only leased devices are there."""
    with LeasedPool(build, devices=3) as pool:
        def listed(path):
            certificate, key = pool.client
            done = run([pool.farcall, "gpus", "--server", pool.url(), "--cert", certificate,
                        "--key", key, "--ca", pool.authority.ca, "--lease", path, "-o", "json"],
                       clean_environment())
            expect(done.returncode == 0, str(done))
            return [gpu["uuid"] for gpu in json.loads(done.stdout)["gpus"]]
        every = listed(pool.issue("all"))
        expect(len(set(every)) == 3, every)
        expect(listed(pool.issue("two", "--devices", "2,0")) == [every[2], every[0]], "not 2 and 0")
        expect(listed(pool.issue("one", "--devices", every[1])) == [every[1]], "not that one")


def sessions(build):
    """So many programs at a time and no more; a place that was given back can be had again."""
    with LeasedPool(build) as pool:
        path = pool.issue("single", "--sessions", "1")
        for _ in range(3):
            expect_works(pool, path)  # which tries the server before the program does
        process = running(pool, path)
        pool.refused(path, "all 1 sessions of the lease are in use")
        process.kill()
        process.communicate()
        expect_works(pool, path)


if __name__ == "__main__":
    main({case.__name__: case for case in (
        needed, others, expires, revoked, calls, devices, sessions)})
