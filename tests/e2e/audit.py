#!/usr/bin/env python3
"""The audit log of a real server: what it records, that tampering is found, that it fails closed.

Usage: audit.py BUILD CASE      CASE is one of the functions below
"""
import hashlib
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess

from pool import Authority, Pool, clean_environment, expect, main, run, skip

TAMPERED, USAGE, IN_DOUBT, FAILED = 1, 2, 3, 125
SHARED_BYTES = 32 * 1024


def farcall(pool, *words, code=0):
    done = run([pool.farcall, "audit", *words], clean_environment())
    expect(done.returncode == code, f"{words}: exit {done.returncode}, not {code}: "
                                    f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def records(pool, *words, code=0):
    done = run([pool.farcall, "audit", "export", pool.folder / "audit", "-o", "json", *words],
               clean_environment())
    expect(done.returncode == code, f"{words}: {done.returncode} {done.stderr}")
    return json.loads(done.stdout)


def check_by_hand(pool):
    """The chain and the signatures as security/README.md has them, without a line of Farcall's."""
    log = pool.folder / "audit"
    before, signatures = bytes(32), 0
    for line in (log / "audit-000001.log").read_text().splitlines():
        hashed = line[:line.rindex(',"hash":"')]
        before = hashlib.sha256(before + hashed.encode()).digest()
        record = json.loads(line)
        expect(record["hash"] == before.hex(), f"the hash of {line}")
        if "signature" not in record:
            continue
        text, signature = pool.folder / "text", pool.folder / "signature"
        text.write_text("farcall audit checkpoint 1\n" + line[:line.rindex(',"signature":"')])
        signature.write_bytes(bytes.fromhex(record["signature"]))
        done = run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", log / "audit.pub",
                    "-rawin", "-in", text, "-sigfile", signature], clean_environment())
        expect(done.returncode == 0, f"the signature of {line}: {done.stdout}{done.stderr}")
        signatures += 1
    expect(signatures >= 2, f"{signatures} checkpoints")


def stop(pool):
    pool.server.send_signal(signal.SIGTERM)
    pool.server.wait(30)


def serve_some(pool):
    """A session that ends well, and one that is refused."""
    done = pool.farcall_run(["true"])
    expect(done.returncode == 0, done.stderr)
    folder = pool.folder / "other"
    folder.mkdir()
    other = Authority(pool.build, folder)
    stranger = pool.farcall_run(["true"], client=other.client("stranger"), ca=other.ca)
    expect(stranger.returncode == FAILED, "a stranger got in")
    with socket.create_connection(("127.0.0.1", pool.port)) as garbage:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n\"},\"hash\":\"\n{\"seq\":1")
        try:
            garbage.recv(1)
        except ConnectionResetError:
            pass


def recorded(build):
    """Who came, who was refused and how it ended; whole and closed when the server has stopped."""
    with Pool(build) as pool:
        log, key = pool.folder / "audit", pool.folder / "audit" / "audit.pub"
        serve_some(pool)
        running = farcall(pool, "verify", log, "--key", key)
        expect("a server writes to it" in running, running)
        anchor = pool.folder / "anchors"
        anchor.write_text(farcall(pool, "anchor", log))
        pool.server.send_signal(signal.SIGHUP)
        pool.await_log("read again")
        stop(pool)
        whole = farcall(pool, "verify", log, "--key", key, "--anchor", anchor)
        expect("closed by its server" in whole, whole)
        everything = records(pool)
        kinds = [one["kind"] for one in everything]
        for kind in ("audit.open", "server.start", "session.start", "session.end",
                     "session.refused", "certificate.load", "server.stop", "audit.checkpoint"):
            expect(kind in kinds, f"no {kind} in {kinds}")
        started = records(pool, "--kind", "session.start", "--tenant", "acme")[0]
        expect(started["principal"] == "spiffe://test/tenant/acme/user/client", str(started))
        expect(started["role"] == "user" and started["server"] == "localhost", str(started))
        expect(started["details"]["from"].startswith("127.0.0.1:"), str(started))
        ended = records(pool, "--kind", "session.end")[0]
        expect(ended["outcome"] == "ok" and ended["details"]["how"] == "exit 0", str(ended))
        expect(ended["details"]["session"] == started["details"]["session"], str(ended))
        refused = records(pool, "--outcome", "refused")
        expect(len(refused) >= 2 and all(one["role"] == "stranger" for one in refused), str(refused))
        expect([one["seq"] for one in everything] == list(range(1, len(everything) + 1)), str(kinds))
        expect("session.start" in farcall(pool, "search", log, "--principal", "/user/client"), "search")
        farcall(pool, "search", log, "--tenant", "nobody", code=1)
        farcall(pool, "search", log, "--since", "2090-01-01", code=1)
        farcall(pool, "search", log, "--since", "yesterday", code=USAGE)
        expect(farcall(pool, "search", log, "--since", "1h").count("\n") == len(everything), "1h")
        expect("server.stop" in farcall(pool, "tail", log, "-n", "2"), "tail")
        table = run([pool.farcall, "audit", "export", log, "-o", "csv"], clean_environment()).stdout
        expect(table.startswith("seq,time,kind") and "session.refused" in table, table)
        check_by_hand(pool)
        for file in log.iterdir():
            expect(file.suffix == ".pub" or file.stat().st_mode & 0o077 == 0, f"others read {file}")


def tampered(build):
    """A changed, a dropped and a cut-off record are named by place; the log is not gone on with."""
    with Pool(build) as pool:
        log = pool.folder / "audit"
        serve_some(pool)
        stop(pool)
        file = log / "audit-000001.log"
        text = file.read_bytes()
        lines = text.splitlines(keepends=True)
        victim = next(i for i, line in enumerate(lines) if b"session.start" in line)
        offset = sum(map(len, lines[:victim]))

        def verify(changed, *words):
            file.write_bytes(changed)
            said = farcall(pool, "verify", log, code=TAMPERED)
            expect("NOT as it was written" in said, said)
            for word in words:
                expect(word in said, f"{word!r} is not in: {said}")

        place = f"audit-000001.log, line {victim + 1}, byte {offset}"
        verify(text.replace(b"user/client", b"user/nobody", 1), "changed", place)
        verify(b"".join(lines[:victim] + lines[victim + 1:]), "missing", place)
        verify(b"".join(lines[:-2]), "truncated", f"byte {sum(map(len, lines[:-2]))}")
        file.write_bytes(text.replace(b"user/client", b"user/nobody", 1))
        again = run([build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", "--cert",
                     pool.certificate, "--key", pool.key, "--ca", pool.authority.ca, "--driver",
                     pool.driver, "--module-cache", "off", "--audit", log], clean_environment())
        expect(again.returncode == 1 and "farcall audit verify" in again.stderr, again.stderr)
        farcall(pool, "verify", pool.folder / "nowhere", code=FAILED)


def fill(pool):
    """Lets no file of the server's grow further than the log is now, which is made longer than any
    memory it shares with a worker: that is a file, too."""
    log = pool.folder / "audit" / "audit-000001.log"
    while (size := log.stat().st_size) < SHARED_BYTES:
        expect(pool.farcall_run(["true"]).returncode == 0, "no session to write down")
    resource.prlimit(pool.server.pid, resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))


def no_room(build):
    """What cannot be recorded is refused, sessions that run go on, and it heals by itself."""
    with Pool(build) as pool:
        running = pool.start([pool.program("endless_calls")])
        pool.await_log("session ")
        fill(pool)
        refused = pool.farcall_run(["true"])
        expect(refused.returncode == FAILED and "audit log" in refused.stderr, refused.stderr)
        pool.await_log("cannot write its audit log")
        pool.await_log("refused until")
        expect(running.poll() is None, "a session that ran was ended")
        resource.prlimit(pool.server.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        pool.await_log("written again")
        expect(pool.farcall_run(["true"]).returncode == 0, "it did not heal")
        expect(running.poll() is None, "a session that ran was ended")
        running.kill()
        running.communicate()
        stop(pool)
        farcall(pool, "verify", pool.folder / "audit")
        expect(len(records(pool, "--kind", "audit.gap")) == 1, "the gap is not recorded")


def full_disk(build):
    """The same on a disk that is full: a tmpfs of its own, in a mount namespace of its own."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    with Pool(build) as pool:
        stop(pool)
        disk = pool.folder / "disk"
        disk.mkdir()
        mount = f'mount -t tmpfs -o size=256k,mode=700 none "{disk}"'
        if run([*unshare, "sh", "-c", mount], clean_environment()).returncode != 0:
            skip("a tmpfs cannot be mounted here")
        server = [build / "bin" / "farcall-server", "--listen", f"127.0.0.1:{pool.port}",
                  "--cert", pool.certificate, "--key", pool.key, "--ca", pool.authority.ca,
                  "--driver", pool.driver, "--module-cache", "off", "--audit", disk / "audit"]
        pool.server = subprocess.Popen(
            [*unshare, "sh", "-c", mount + ' && exec "$@"', "sh", *map(str, server)], text=True,
            env=clean_environment() | {"FARCALL_LOG": "info"}, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        next(line for line in pool.server.stderr if "listening on" in line)
        inside = pathlib.Path(f"/proc/{pool.server.pid}/root{disk}")
        expect(pool.farcall_run(["true"]).returncode == 0, "no session with room")
        big = inside / "big"
        try:
            with big.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
        except OSError as full:
            print(full)
        # The log may still have room in the page it is in.
        for _ in range(20):
            refused = pool.farcall_run(["true"])
            if refused.returncode != 0:
                break
        expect(refused.returncode == FAILED and "audit log" in refused.stderr, refused.stderr)
        big.unlink()
        expect(pool.farcall_run(["true"]).returncode == 0, "it did not heal")
        done = run([pool.farcall, "audit", "verify", inside / "audit"], clean_environment())
        expect(done.returncode == 0 and "a server writes to it" in done.stdout, str(done))


def killed(build):
    """kill -9 of the server loses no record of a session that was let in; the next start says so."""
    with Pool(build) as pool:
        log = pool.folder / "audit"
        for _ in range(3):
            expect(pool.farcall_run(["true"]).returncode == 0, "refused")
        pool.server.kill()
        pool.server.wait(30)
        said = farcall(pool, "verify", log, code=IN_DOUBT)
        expect("killed" in said or "crash tail" in said, said)
        expect(len(records(pool, "--kind", "session.start")) >= 3, "a session is missing")
        pool.start_server()
        opened = records(pool, "--kind", "audit.open")[-1]
        expect(opened["details"]["found"] == "not closed", str(opened))
        stop(pool)
        farcall(pool, "verify", log)


def facts(build):
    """What a worker tells: images by digest, memory, wiping and totals; and what a killed one leaves."""
    with Pool(build) as pool:
        done = pool.run([pool.program("step_loop"), "5"])
        expect(done.returncode == 0, done.stderr)
        running = pool.start([pool.program("endless_calls")])
        expect(running.stdout.readline(), "the program said nothing")
        os.kill(pool.workers()[0], signal.SIGKILL)
        running.communicate()
        stop(pool)
        log = pool.folder / "audit"
        totals = [one for one in records(pool, "--kind", "session.totals")
                  if int(one["details"]["modules"]) > 0]
        expect(len(totals) == 2, f"{totals}")
        session = totals[0]["details"]["session"]
        for name in ("calls", "bytes_in", "bytes_out"):
            expect(int(totals[0]["details"][name]) > 0, str(totals[0]))
        expect(totals[0]["details"]["unknown_handles"] == "0", str(totals[0]))
        loaded = [one["details"] for one in records(pool, "--kind", "module.load")]
        mine = [one for one in loaded if one["session"] == session]
        expect(len(mine) == int(totals[0]["details"]["modules"]), str(loaded))
        expect(all(len(one["sha256"]) == 64 and int(one["bytes"]) > 100 for one in loaded), str(loaded))
        expect({one["sha256"] for one in mine} and mine[0]["form"] == "fatbin", str(mine))
        expect(mine[0]["sha256"] in farcall(pool, "search", log, "--kind", "module.load"), "search")
        peak = records(pool, "--kind", "memory.peak")[0]
        expect(peak["details"]["session"] == session and int(peak["details"]["bytes"]) > 0, str(peak))
        first, last = records(pool, "--kind", "scrub")
        expect(first["outcome"] == "ok" and first["details"]["done"] == "yes", str(first))
        expect(int(first["details"]["freed_bytes"]) + int(first["details"]["left_bytes"]) > 0, str(first))
        expect(last["outcome"] == "failed" and "before it could tell" in last["details"]["done"], str(last))
        farcall(pool, "verify", log)


if __name__ == "__main__":
    main({case.__name__: case for case in (recorded, tampered, no_room, full_disk, killed,
                                              facts)})
