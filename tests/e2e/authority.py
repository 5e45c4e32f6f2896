#!/usr/bin/env python3
"""An authority that is asked over the network: servers join, everybody renews, programs go on.

Usage: authority.py BUILD CASE      CASE is one of the functions below
"""
import contextlib
import json
import re
import signal
import subprocess

from faults import ready
from pool import PATIENCE_S, Pool, clean_environment, expect, main, run

LIFE_S = 20  # of a certificate; renewed at half of it


@contextlib.contextmanager
def service(pool, *words):
    """`farcall ca serve` for the pool's authority; gives its place."""
    process = subprocess.Popen(
        [str(word) for word in (pool.farcall, "ca", "serve", "--dir", pool.authority.folder,
                                "--listen", "127.0.0.1:0", "--names", "127.0.0.1", *words)],
        env=clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        line = process.stdout.readline()
        found = re.search(r"listens on port (\d+)", line)
        expect(found, f"farcall ca serve says {line!r}")
        yield f"127.0.0.1:{found.group(1)}"
    finally:
        process.send_signal(signal.SIGTERM)
        expect(process.wait(60) == 0, f"farcall ca serve ended with {process.returncode}")
        process.stdout.close()


def ca(pool, *words):
    return run([pool.farcall, "ca", *words], clean_environment())


def joining(build):
    """A server gets its first certificate by a token, serves with it, and the token is spent."""
    with Pool(build) as pool, service(pool) as place, Pool(build, beside=pool) as other:
        other.server.terminate()
        other.server.wait(60)
        token = serve_as_joined(pool, other, place)
        done = other.farcall_run(["true"])
        expect(done.returncode == 0, done)
        again = pool.authority.folder / "again"
        done = ca(pool, "join", token, "--ca", place, "--out", again)
        expect(done.returncode == 125 and "was used before" in done.stderr, done)
        expect(not list(again.iterdir()), "something was left behind")


def lives(build):
    """Certificates of some seconds are renewed again and again under a server and a program that
    never notice; a program whose certificate nobody renews ends with it, and is told why."""
    with Pool(build) as pool, service(pool, "--life", f"{LIFE_S}s") as place, \
            Pool(build, beside=pool, server_words=("--renew-from", place)) as other:
        other.server.terminate()
        other.server.wait(60)
        serve_as_joined(pool, other, place)
        ann, bob = (short_lived(pool, name) for name in ("ann", "bob"))
        log = pool.folder / "bob.log"
        his = ready(other, client=bob, FARCALL_LOG=f"error:{log}")
        hers = subprocess.Popen(
            [str(word) for word in (pool.farcall, "run", "--server", other.url(), "--cert", ann[0],
                                    "--key", ann[1], "--ca", pool.authority.ca, "--renew-from", place,
                                    "--", other.program("endless_calls"))],
            env=clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            expect(hers.stdout.readline() == "ready\n", "the program is not ready")
            with other._log_grew:
                renewed = other._log_grew.wait_for(
                    lambda: sum("renewed: certificate" in line for line in other.log) >= 3, PATIENCE_S)
            expect(renewed, f"the server does not renew: {''.join(other.log)}")
            expect(hers.poll() is None, "the program whose certificate is renewed has ended")
        finally:
            hers.kill()
            # What renews has its standard error from the program: this waits for its end, too.
            said = hers.communicate()[1]
        expect("renew" not in said, said)
        listed = json.loads(ca(pool, "list", "--dir", pool.authority.folder, "-o", "json").stdout)
        of_ann = [one for one in listed["certificates"] if one["identity"].endswith("/user/ann")]
        expect(len(of_ann) >= 3, of_ann)
        out, err = his.communicate(timeout=PATIENCE_S)
        expect(his.returncode == 3 and "your certificate expired on" in log.read_text(),
               f"{out!r} {err!r} {log.read_text()}")


def serve_as_joined(pool, other, place):
    """Has the server of `other` serve with what it gets for a token."""
    folder = pool.authority.folder
    token = ca(pool, "token", "--dir", folder, "--server", "gpu7", "--names",
               "127.0.0.1").stdout.strip()
    done = ca(pool, "join", token, "--ca", place, "--out", folder / "gpu7")
    expect(done.returncode == 0 and "spiffe://test/server/gpu7" in done.stdout, done)
    other.certificate, other.key = folder / "gpu7/gpu7.crt", folder / "gpu7/gpu7.key"
    other.start_server()
    return token


def short_lived(pool, name):
    out = pool.authority.folder / name
    done = ca(pool, "issue", "--dir", pool.authority.folder, "--tenant", "acme", "--user", name,
              "--life", f"{LIFE_S}s", "--out", out)
    expect(done.returncode == 0, done)
    return out.with_suffix(".crt"), out.with_suffix(".key")


if __name__ == "__main__":
    main({case.__name__: case for case in (joining, lives)})
