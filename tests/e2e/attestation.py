#!/usr/bin/env python3
"""Servers whose certificates are given against quotes of a TPM: swtpm, an emulated one.

Usage: attestation.py BUILD CASE      CASE is one of the functions below
"""
import contextlib
import hashlib
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from authority import ca, service
from pool import PATIENCE_S, Pool, clean_environment, expect, main, run, skip

LIFE_S = 16  # of an attested certificate; renewed at half of it


class Tpm:
    """An emulated TPM in a folder of its own, on a Unix socket."""

    def __init__(self):
        for tool in ("swtpm", "tpm2_pcrextend"):
            if not shutil.which(tool):
                skip(f"{tool} is not installed (tools/setup)")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="farcall-test-"))
        socket = self.folder / "sock"
        self.tcti = f"swtpm:path={socket}"
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}",
             "--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl",
             "--flags", "not-need-init,startup-clear"],
            env=clean_environment(), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        until = time.monotonic() + PATIENCE_S
        # It makes both sockets before it serves; asking is how to know that it does.
        while self._tool("tpm2_pcrread", "sha256:0").returncode != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                said = self.process.communicate()[1]
                shutil.rmtree(self.folder)
                skip(f"swtpm does not run here: {said}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()
        shutil.rmtree(self.folder)

    def _tool(self, *words):
        return run(words, clean_environment() | {"TPM2TOOLS_TCTI": self.tcti, "TSS2_LOG": "all+none"})

    def extend(self, pcr, text):
        digest = hashlib.sha256(text.encode()).hexdigest()
        done = self._tool("tpm2_pcrextend", f"{pcr}:sha256={digest}")
        expect(done.returncode == 0, done)


def attest(pool, *words):
    return run([pool.farcall, "attest", *words], clean_environment())


def make_golden(pool, tpm, servers="gpu7"):
    """The machine as it is now is how it should be: in the authority's golden set."""
    quote = pool.folder / "golden.quote"
    done = attest(pool, "quote", "--tpm", tpm.tcti, "--out", quote)
    expect(done.returncode == 0, done)
    done = attest(pool, "golden", quote, "--servers", servers, "--pcrs", "0-8,16")
    expect(done.returncode == 0 and "[class.pcr]" in done.stdout, done)
    (pool.authority.folder / "golden.toml").write_text(done.stdout)


def join(pool, place, name, *words):
    token = ca(pool, "token", "--dir", pool.authority.folder, "--server", name, "--names",
               "127.0.0.1").stdout.strip()
    return token, ca(pool, "join", token, "--ca", place, "--out", pool.folder / name, *words)


@contextlib.contextmanager
def attested(build):
    """A pool whose authority has a golden set for gpu7's TPM; gives pool, TPM and place."""
    with Tpm() as tpm, Pool(build) as pool:
        tpm.extend(0, "firmware")
        make_golden(pool, tpm)
        with service(pool, "--attest", "require", "--attested-life", f"{LIFE_S}s") as place:
            yield pool, tpm, place


def manifest(pool, *words):
    done = run([pool.farcall, "manifest", *words], clean_environment())
    expect(done.returncode == 0, done)
    return done.stdout


def manifest_in(pool, tpm):
    """The digest of a manifest that a quote says, as farcall attest verify prints it."""
    code, quote = pool.folder / "code", pool.folder / "with_manifest"
    manifest(pool, "keygen", "--out", pool.folder / "ana")
    manifest(pool, "make", "--driver", pool.driver, "--sign", pool.folder / "ana.key", "--out", code)
    done = attest(pool, "quote", "--tpm", tpm.tcti, "--manifest", code, "--out", quote)
    expect(done.returncode == 0, done)
    done = attest(pool, "verify", quote)
    found = re.search(r"^manifest +([0-9a-f]{64})$", done.stdout, re.M)
    expect(found, done)
    return found[1]


def lives(build):
    """A server joins and renews against quotes; with another kernel it gets no certificate any
    more, is told what differs, and within minutes nobody talks to it."""
    with attested(build) as (pool, tpm, place):
        words = ("--renew-from", place, "--tpm", tpm.tcti)
        with Pool(build, beside=pool, server_words=words) as other:
            other.server.terminate()
            other.server.wait(60)
            _, done = join(pool, place, "gpu7", "--tpm", tpm.tcti)
            expect(done.returncode == 0 and "spiffe://test/server/gpu7" in done.stdout, done)
            other.certificate, other.key = pool.folder / "gpu7/gpu7.crt", pool.folder / "gpu7/gpu7.key"
            other.start_server()
            other.await_log("renewed: certificate")
            done = other.farcall_run(["true"])
            expect(done.returncode == 0, done)
            tpm.extend(8, "another kernel")
            other.await_log("PCR 8 is ")
            said = next(line for line in other.log if "PCR 8 is " in line)
            expect(", expected 00000000" in said and 'class "servers"' in said, said)
            until = time.monotonic() + PATIENCE_S
            while (done := other.farcall_run(["true"])).returncode == 0:
                expect(time.monotonic() < until, "clients go on talking to a server that was altered")
            expect("expired" in done.stderr, done)
            make_golden(pool, tpm)
        found = run([pool.farcall, "audit", "search", pool.authority.folder / "ca-audit", "--kind",
                     "certificate.refused"], clean_environment())
        expect("PCR 8 is " in found.stdout, found)
        listed = attest(pool, "list", "--dir", pool.authority.folder)
        expect("gpu7" in listed.stdout, listed)


def refused(build):
    """Quotes that are not of this machine, this question or this key; a machine that is not as it
    should be does not join, and its token stays good."""
    with attested(build) as (pool, tpm, place), Tpm() as other:
        token, done = join(pool, place, "gpu7", "--tpm", other.tcti)
        expect(done.returncode == 125 and "PCR 0 is " in done.stderr, done)
        folder = pool.folder / "gpu7"
        done = ca(pool, "join", token, "--ca", place, "--out", folder)
        expect(done.returncode == 125 and "--tpm" in done.stderr, done)
        done = ca(pool, "join", token, "--ca", place, "--out", folder, "--tpm", tpm.tcti)
        expect(done.returncode == 0, done)

        quote, nonce = pool.folder / "q", "ab" * 32
        asked = ("--nonce", nonce, "--cert", folder / "gpu7.crt")
        done = attest(pool, "quote", "--tpm", tpm.tcti, *asked, "--out", quote)
        expect(done.returncode == 0, done)
        golden = ("--golden", pool.authority.folder / "golden.toml", "--server", "gpu7")
        done = attest(pool, "verify", quote, *asked, *golden)
        expect(done.returncode == 0 and "key  " in done.stdout, done)
        expect(manifest_in(pool, tpm) in manifest(pool, "show", pool.folder / "code"), "another digest")

        def is_refused(why, *words):
            no = attest(pool, "verify", *words)
            expect(no.returncode == 125 and why in no.stderr, no)
        is_refused("another question", quote, "--nonce", "cd" * 32, "--cert", folder / "gpu7.crt")
        is_refused("another TLS key", quote, "--nonce", nonce, "--cert", pool.certificate)
        is_refused("another TPM", quote, *asked, "--key", "00" * 32)
        is_refused("no class of machines for gpu8", quote, *asked, *golden[:3], "gpu8")
        bytes_ = bytearray(quote.read_bytes())
        bytes_[150] ^= 1
        (pool.folder / "flipped").write_bytes(bytes_)
        is_refused("not signed by the key", pool.folder / "flipped", *asked)
        done = attest(pool, "show", "--tpm", f"swtpm:path={pool.folder}/nobody")
        expect(done.returncode == 125 and "no TPM answers" in done.stderr, done)


if __name__ == "__main__":
    main({case.__name__: case for case in (lives, refused)})
