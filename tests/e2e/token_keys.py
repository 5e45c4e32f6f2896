#!/usr/bin/env python3
"""An authority whose keys lie in a token behind PKCS#11 (SoftHSM2, in a folder of the test's own).

Usage: token_keys.py BUILD CASE      CASE is one of the functions below
"""
import contextlib
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile

from pool import clean_environment, expect, main, run, skip

MODULE = pathlib.Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, OFFICER = "sesame-4711", "officer-0815"
NOT_THE_AUTHORITYS = ("service.key", "audit.key")  # of its TLS service, and of its audit log


class TokenPool:
    """A folder with a token "lab", its PIN in a file, and the command."""

    def __init__(self, build, folder):
        self.farcall, self.folder, self.ca = build / "bin" / "farcall", folder, folder / "ca"
        self.tokens, self.pin_file = folder / "tokens", folder / "pin"
        self.tokens.mkdir()
        self.write_pin(PIN)
        conf = folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\n"
                        "log.level = ERROR\n")
        self.environment = {**clean_environment(), "SOFTHSM2_CONF": str(conf)}
        done = run(["softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", PIN,
                    "--so-pin", OFFICER], self.environment)
        expect(done.returncode == 0, done)

    def write_pin(self, pin):
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)

    def call(self, *words, **more):
        """`farcall ca` to its end; the PIN is never seen."""
        done = run([self.farcall, "ca", *words], self.environment, cwd=self.folder, **more)
        expect(PIN not in done.stdout + done.stderr, "the PIN is printed")
        return done

    def works(self, *words):
        done = self.call(*words)
        expect(done.returncode == 0, done)
        return done.stdout

    def fails(self, *words, told, code=125):
        done = self.call(*words)
        expect(done.returncode == code and re.search(told, done.stderr), done)
        return done.stderr

    def init(self, *words, folder=None, root="root", issuing="issuing"):
        return ("init", "--pool", "lab", "--dir", folder or self.ca, "--pkcs11-module", MODULE,
                "--root-key", f"pkcs11:token=lab;object={root}",
                "--issuing-key", f"pkcs11:token=lab;object={issuing}", *words)

    def ann(self, name="ann"):
        return ("issue", "--dir", self.ca, "--tenant", "acme", "--user", name)

    def verify(self, certificate):
        path = self.folder / certificate
        done = run(["openssl", "verify", "-CAfile", self.ca / "ca.crt", "-untrusted", path, path],
                   self.environment)
        expect(done.returncode == 0, done)


@contextlib.contextmanager
def token_pool(build):
    if not MODULE.exists() or not shutil.which("softhsm2-util"):
        skip("no SoftHSM2 here (Debian's softhsm2)")
    with tempfile.TemporaryDirectory(prefix="farcall-test-") as folder:
        yield TokenPool(build, pathlib.Path(folder))


def signs(build):
    """Root and issuing key in the token: everything an authority does, and no file has a key."""
    with token_pool(build) as pool:
        pool.works(*pool.init("--pin-file", pool.pin_file))
        pool.works(*pool.ann())
        pool.verify("ann.crt")
        pool.works("renew", "--dir", pool.ca, "ann.crt")
        pool.verify("ann.crt")
        pool.works("deny-list", "--dir", pool.ca)
        pool.fails("init", "--issuing", "--dir", pool.ca, told="lies in a token.*--issuing-key")
        # Another issuing authority, whose predecessor's key still signs its own list.
        pool.works("init", "--issuing", "--dir", pool.ca, "--pin-file", pool.pin_file,
                   "--pkcs11-module", MODULE, "--issuing-key", "pkcs11:token=lab;object=second")
        pool.works(*pool.ann("bob"))
        pool.verify("bob.crt")
        pool.works("revoke", "--dir", pool.ca, "ann.crt", "--reason", "superseded")
        expect("revoked" in pool.works("list", "--dir", pool.ca), "the list forgets who is revoked")
        expect("agree: yes" in pool.works("report", "--dir", pool.ca), "report finds differences")
        pool.works("revoke", "--dir", pool.ca, pool.ca / "issuing.crt")  # by the root
        for path in pool.ca.rglob("*"):
            secret = path.is_file() and b"PRIVATE KEY" in path.read_bytes()
            expect(not secret or path.name in NOT_THE_AUTHORITYS, f"{path} has a private key")
        expect(not list(pool.ca.rglob("ca.key")) and not list(pool.ca.rglob("issuing.key")),
               "there is a key's file")
        # The same names again are not taken over by accident, and are where one says so.
        other = pool.folder / "other"
        again = pool.init("--pin-file", pool.pin_file, folder=other)
        pool.fails(*again, told="has a key \"root\" already")
        pool.works(*again, "--existing-keys")
        pool.works("issue", "--dir", other, "--tenant", "acme", "--user", "cid")
        # What is in a file becomes one of a token, and the file goes.
        plain = pool.folder / "plain"
        pool.works("init", "--pool", "lab", "--dir", plain)
        pool.works("init", "--issuing", "--dir", plain, "--pin-file", pool.pin_file,
                   "--pkcs11-module", MODULE, "--issuing-key", "pkcs11:token=lab;object=third")
        expect(not (plain / "issuing.key").exists(), "the former key is still in use")
        pool.works("issue", "--dir", plain, "--tenant", "acme", "--user", "dan")


def refusals(build):
    """What is wrong is said: module, token, key, PIN; a wrong PIN is tried once in each command."""
    with token_pool(build) as pool:
        with_pin = ("--pin-file", pool.pin_file)
        place = ("init", "--dir", pool.ca, "--pkcs11-module")
        key = ("--root-key", "pkcs11:token=lab;object=root")
        pool.fails(*place, "/usr/lib/none.so", *key, *with_pin, told="cannot load .*/usr/lib/none.so")
        pool.fails(*place, "none.so", *key, *with_pin, told="whole path", code=2)
        for uri, told, code in (
                ("pkcs11:token=home;object=root", 'no token is as .*there is "lab"', 125),
                ("pkcs11:token=lab", "names no key", 2),
                ("pkcs11:token=lab;object=root;colour=red", "not known here", 2),
                ("ca.key", "cannot be read", 2),
                ("pkcs11:token=lab;object=root?pin-value=1234", "has the PIN itself in it", 2),
                ("pkcs11:token=lab;object=root?pin-source=pin", "pin-source=file:/absolute", 2)):
            pool.fails(*place, MODULE, "--root-key", uri, *with_pin[:2 * ("pin" not in uri)],
                       told=told, code=code)
        pool.fails(*place, MODULE, *key, *with_pin, "--existing-keys", told="no private key as the URI")
        expect(not list(pool.ca.rglob("*.crt")), "a refused authority left certificates")
        # Its own session, so that there is no terminal: nobody can be asked.
        pool.fails(*pool.init(), told="asked for on a terminal, and there is none.*pin-source")
        pool.works(*pool.init(*with_pin))
        pool.write_pin("wrong")
        said = pool.fails(*pool.ann(), told="token lab refuses the PIN; .* tries")
        expect(said.count("refuses") == 1, said)
        pool.write_pin("")
        pool.fails(*pool.ann(), told="is empty|not a PEM")
        pool.pin_file.unlink()
        pool.fails(*pool.ann(), told="the PIN: open .*No such file")
        pool.write_pin(PIN)
        pool.works(*pool.ann())


def asked(build):
    """A PIN that no file has is asked for on the terminal, and not shown there."""
    with token_pool(build) as pool:
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(pool.folder)
            os.execve(pool.farcall, [str(word) for word in ("farcall", "ca", *pool.init())],
                      pool.environment)
        seen = b""
        while b"PIN of token lab: " not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, PIN.encode() + b"\n")
        with contextlib.suppress(OSError):  # its end
            while seen.count(b"PIN of token") == 1 and (more := os.read(terminal, 4096)):
                seen += more
        os.close(terminal)  # which ends who still waits for it
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        expect(status == 0 and PIN.encode() not in seen, f"{status}: {seen!r}")
        expect(seen.count(b"PIN of token") == 1, "it is asked for twice")


def removed(build):
    """A token that is taken away while the authority serves is missed in words, and taken up again
    when it is back; a PIN that changed meanwhile is tried once."""
    with token_pool(build) as pool:
        pool.works(*pool.init("--pin-file", pool.pin_file))
        log = pool.folder / "log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [pool.farcall, "ca", "serve", "--dir", pool.ca, "--listen", "127.0.0.1:0", "--names",
                 "127.0.0.1"], env=pool.environment, text=True, stdout=subprocess.PIPE, stderr=file)
        try:
            port = re.search(r"port (\d+)", process.stdout.readline()).group(1)

            def join(name):
                token = pool.works("token", "--dir", pool.ca, "--server", name).strip()
                return pool.call("join", token, "--ca", f"127.0.0.1:{port}", "--out", name)

            expect(join("gpu1").returncode == 0, log.read_text())
            pool.tokens.rename(pool.folder / "away")
            pool.tokens.mkdir()
            done = join("gpu2")
            expect(done.returncode == 125 and "cannot sign now" in done.stderr, done)
            pool.tokens.rmdir()
            (pool.folder / "away").rename(pool.tokens)
            done = join("gpu3")
            expect(done.returncode == 0, f"{done} {log.read_text()}")
            # Of two that are refused only the first reaches the token.
            pool.write_pin("wrong")
            expect(join("gpu4").returncode == 125, "a wrong PIN signs")
            pool.write_pin(PIN)
            expect(join("gpu5").returncode == 125, "a PIN was tried again")
        finally:
            process.send_signal(signal.SIGTERM)
            expect(process.wait(60) == 0, f"farcall ca serve ended with {process.returncode}: "
                                          f"{log.read_text()}")
            process.stdout.close()
        recorded = run([pool.farcall, "audit", "search", pool.ca / "ca-audit"],
                       pool.environment).stdout
        for told in ('no token is as', "refuses the PIN", "not tried again"):
            expect(told in recorded, f"{told!r} is not in the audit log: {recorded}")
        expect(PIN not in recorded + log.read_text(), "the PIN is in a log")


if __name__ == "__main__":
    main({case.__name__: case for case in (signs, refusals, asked, removed)})
