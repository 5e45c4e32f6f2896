#!/usr/bin/env python3
"""A server whose code was changed starts no session, says which file it is, and goes on once that is
restored or approved.

Usage: manifest.py BUILD CASE      CASE is one of the functions below
"""
import json
import os
import pathlib
import re
import shutil

from pool import Pool, clean_environment, expect, main, run

FARCALL_FAILED = 125
NOT_GOOD = 1


class GuardedPool(Pool):
    """A server with a manifest, whose worker and driver are copies that a test may change."""

    def __init__(self, build, listed_driver=None, words=(), copies=True, signers=1):
        super().__init__(build)
        self.copies, self.listed_driver, self.more_words = copies, listed_driver, words
        self.signers = signers

    def start_server(self):
        self.folder = self.folder.resolve()
        self.worker = self.build / "bin" / "farcall-worker"
        if self.copies:
            self.worker = self.copy(self.worker, "code/bin")
            # Where a program looks for libraries that came along with it.
            bundled = self.build / "lib" / "bundled"
            if bundled.exists():
                shutil.copytree(bundled, self.folder / "code" / "lib" / "bundled")
            self.driver = self.copy(self.driver, "code/driver")
        self.text, self.approvals = self.folder / "gpu.manifest", self.folder / "approvals"
        keys = self.folder / "keys"
        keys.mkdir()
        self.ana, self.ben = keys / "ana", keys / "ben"
        for signer in (self.ana, self.ben):
            self.manifest("keygen", "--out", signer)
        self.manifest("make", "--out", self.text, "--sign", f"{self.ana}.key", "--name", "test",
                      "--worker", self.worker, "--driver", self.listed_driver or self.driver)
        if self.signers == 2:
            self.manifest("sign", self.text, "--key", f"{self.ben}.key")
        self.server_words = ["--worker", self.worker, "--manifest", self.text, "--manifest-keys",
                             keys, "--manifest-approvals", self.approvals, "--manifest-cache",
                             self.folder / "measured", "--manifest-signatures",
                             str(self.signers), *self.more_words]
        super().start_server()

    def copy(self, path, folder):
        place = self.folder / folder
        place.mkdir(parents=True)
        return pathlib.Path(shutil.copy(path, place))

    def manifest(self, *words, code=0):
        done = run([self.farcall, "manifest", *words], clean_environment())
        expect(done.returncode == code, f"farcall manifest {words}: {done}")
        return done.stdout + done.stderr

    def approve(self, path, *words):
        return self.manifest("approve", path, "--key", f"{self.ana}.key", "--owner", "ana",
                             "--reason", "an upgrade", "--approvals", self.approvals, *words)

    def works(self):
        done = self.farcall_run(["true"])
        expect(done.returncode == 0, f"{done.stderr}")

    def refused(self, name):
        done = self.farcall_run(["true"])
        expect(done.returncode == FARCALL_FAILED, str(done))
        expect("its code is not what its signed manifest says" in done.stderr, done.stderr)
        expect(name in done.stderr, f"{name} is not named: {done.stderr}")
        expect(str(self.folder) not in done.stderr, f"a client is told of places: {done.stderr}")

    def records(self, kind):
        done = run([self.farcall, "audit", "export", self.folder / "audit", "--kind", kind, "-o",
                    "json"], clean_environment())
        return json.loads(done.stdout) if done.returncode == 0 else []


def replace(path, change):
    """Puts a changed copy in the file's place, as a package does."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(change(path.read_bytes()))
    fresh.chmod(path.stat().st_mode)
    os.replace(fresh, path)


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]


def hashed(pool):
    """How many bytes each look that found all to be well has hashed."""
    return [int(found) for found in re.findall(r"says, (\d+) bytes of them", "".join(pool.log))]


def changed(build):
    """A flipped byte in the worker: nobody new is let in, who is in stays, until it is restored."""
    with GuardedPool(build) as pool:
        pool.works()
        running = pool.start([pool.program("endless_calls")])
        expect(running.stdout.readline() == "ready\n", "the program does not run")
        good = pool.worker.read_bytes()
        replace(pool.worker, flipped)
        pool.refused("farcall-worker")
        expect(len(pool.workers()) == 1, "a changed worker was started")
        pool.await_log(f"{pool.worker} was changed: its SHA-256 is")
        refusals = pool.records("code.refused")
        expect(len(refusals) == 1 and refusals[0]["details"]["file"] == str(pool.worker),
               str(refusals))
        expect(refusals[0]["details"]["found"] != refusals[0]["details"]["expected"], str(refusals))
        told = pool.records("session.refused")
        expect(len(told) == 1 and "farcall-worker" in told[0]["details"]["why"], str(told))
        expect("NOT GOOD: " in pool.manifest("verify", pool.text, "--keys", f"{pool.ana}.pub",
                                             code=NOT_GOOD), "verify")
        replace(pool.worker, lambda _: good)
        pool.works()
        expect(len(hashed(pool)) == 2, f"not told that all is well: {pool.log}")
        expect(running.poll() is None, "the program that ran ended")
        running.kill()
        running.communicate()


def approved(build):
    """A driver that was upgraded serves once that is approved by the right people; a touch is no
    change."""
    with GuardedPool(build, signers=2) as pool:
        pool.works()
        pool.driver.touch()
        pool.works()
        replace(pool.driver, lambda data: data + b"\0")
        pool.refused(pool.driver.name)
        pool.approve(pool.driver, "--time", "1h")
        pool.await_log("by 1 of the 2 known keys")
        pool.refused(pool.driver.name)
        pool.manifest("sign", pool.approvals, "--key", f"{pool.ben}.key")
        pool.await_log("approved by ana until")
        pool.works()
        expect("an upgrade" in pool.manifest("show", pool.approvals), "show")
        record = pool.records("code.approved")[0]
        expect(record["details"]["owner"] == "ana", str(record))
        replace(pool.driver, lambda data: data + b"\0")
        pool.refused(pool.driver.name)


def unlisted(build):
    """Code that a worker loads and that is not listed is refused by name, or only told of."""
    other = build / "lib" / "software_gpu" / "libcuda.so.1"
    with GuardedPool(build, listed_driver=other) as pool:
        pool.refused(pool.driver.name)
        pool.await_log(f"{pool.driver} is loaded and not in the manifest")
        expect(not pool.workers(), "the worker is still there")
    with GuardedPool(build, listed_driver=other, words=["--manifest-unlisted", "warn"]) as pool:
        pool.works()
        pool.await_log("told of only")


def starts(build):
    """A second start hashes nothing; --check says what holds; what nobody signed is not believed."""
    with GuardedPool(build, copies=False) as pool:
        pool.works()
        pool.server.terminate()
        pool.server.wait()
        expect(hashed(pool)[0] > 0, pool.log)
        pool.log.clear()
        Pool.start_server(pool)
        pool.works()
        expect(hashed(pool) == [0], f"hashed again: {pool.log}")
        identity = ["--cert", pool.certificate, "--key", pool.key, "--ca", pool.authority.ca]
        server = [build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", *identity, "--driver",
                  pool.driver, "--module-cache", "off", "--audit", "off", "--control", "off",
                  "--manifest", pool.text, "--manifest-cache", "off", "--manifest-keys"]
        said = run([*server, f"{pool.ana}.pub", "--check"], clean_environment())
        digest = re.search(r"SHA-256 ([0-9a-f]{64})", pool.manifest("sign", pool.text, "--key",
                                                                    f"{pool.ben}.key"))[1]
        expect(said.returncode == 0 and f"SHA-256 {digest}" in said.stdout, str(said))
        refused = run([*server, f"{pool.folder}/nobody.pub"], clean_environment())
        expect(refused.returncode == 1 and "nobody.pub" in refused.stderr, str(refused))
        pool.manifest("keygen", "--out", pool.folder / "other")
        refused = run([*server, f"{pool.folder}/other.pub"], clean_environment())
        expect(refused.returncode == 1 and "by 0 of the 1 known keys" in refused.stderr,
               str(refused))


if __name__ == "__main__":
    main({case.__name__: case for case in (changed, approved, unlisted, starts)})
