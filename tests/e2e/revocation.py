#!/usr/bin/env python3
"""Who may not go on and who may: certificates revoked and renewed while programs run.

Usage: revocation.py BUILD CASE      CASE is one of the functions below
"""
import json
import re
import time

from faults import expect_error, expect_service, ready
from pool import Pool, clean_environment, expect, main, run
from refusals import refused


def ca(pool, *words):
    done = run([pool.farcall, "ca", *words, "--dir", pool.authority.folder], clean_environment())
    expect(done.returncode == 0, f"farcall ca {words[0]}: {done.stdout} {done.stderr}")
    return done.stdout


def client(build):
    """A program's session ends with its certificate, and it is told why; others go on."""
    with Pool(build, denies=True) as pool:
        ann = pool.authority.client("ann")
        log = pool.folder / "ann.log"
        hers, his = ready(pool, client=ann, FARCALL_LOG=f"error:{log}"), ready(pool)
        started = time.monotonic()
        pool.authority.revoke(ann[0])
        expect_error(hers)
        print(f"{time.monotonic() - started:.2f} s with farcall ca revoke itself")
        said = log.read_text()
        expect(re.search(r"your certificate was revoked on \S+ \S+ UTC \(key compromise\): ask for "
                         "a new one", said), said)
        refused(pool.farcall_run(["true"], client=ann), "revoked", "new one")
        # Nobody else notices, and she is let in again with another certificate.
        expect(his.poll() is None, "another's program ended")
        his.kill()
        his.communicate()
        done = pool.farcall_run(["true"], client=pool.authority.client("ann2"))
        expect(done.returncode == 0, done)
        expect_service(pool)


def server(build):
    """A client that goes by a deny list does not talk to a server that is on it."""
    with Pool(build) as pool:
        words = [pool.farcall, "run", "--server", pool.url(), "--cert", pool.client[0], "--key",
                 pool.client[1], "--ca", pool.authority.ca, "--deny-list", pool.authority.deny_list(),
                 "--", "true"]
        done = run(words, clean_environment())
        expect(done.returncode == 0, done)
        pool.authority.revoke(pool.certificate)
        refused(run(words, clean_environment()), "server's certificate was revoked on")
        # The client library by itself goes by it, too.
        done = pool.run([pool.program("vector_add")],
                        FARCALL_DENY_LIST=str(pool.authority.folder / "deny.crl"))
        expect(done.returncode == 1 and "cudaError" in done.stdout, done)
        expect_service(pool)


def worse_lists(build):
    """A list that is damaged or older is refused in words, and the former stays in force."""
    with Pool(build, denies=True) as pool:
        ann, path = pool.authority.client("ann"), pool.authority.folder / "deny.crl"
        none = path.read_bytes()
        pool.authority.revoke(ann[0])
        pool.await_log("1 certificate(s) denied")
        for worse, told in ((none, "is older than the one in force"), (none[:200], "damaged"),
                            (b"junk\n", "there is no revocation list")):
            fresh = path.with_suffix(".fresh")
            fresh.write_bytes(worse)
            fresh.rename(path)
            pool.await_log(told)
            refused(pool.farcall_run(["true"], client=ann), "revoked")
        expect_service(pool)


def renewal(build):
    """Certificates are renewed, with a new key as well, and the program in the middle goes on."""
    with Pool(build) as pool:
        program = ready(pool)
        for words in ((), ("--new-key",)):
            pool.authority.renew(pool.certificate, *words)
            serial = re.search(r"serial\s+(\S+)", run(
                [pool.farcall, "ca", "show", pool.certificate], clean_environment()).stdout).group(1)
            pool.await_log(f"certificate {serial} is in use now")
            pool.authority.renew(pool.client[0], *words)
            expect_service(pool)
        expect(program.poll() is None, "the program ended")
        program.kill()
        program.communicate()


def reports(build):
    """What was issued, renewed and revoked can be listed, counted, and agrees with the deny list."""
    with Pool(build) as pool:
        ann = pool.authority.client("ann", tenant="vision")
        pool.authority.renew(ann[0])
        pool.authority.revoke(ann[0])
        listed = json.loads(ca(pool, "list", "-o", "json"))["certificates"]
        of_ann = [one for one in listed if one["identity"].endswith("/tenant/vision/user/ann")]
        expect([one["standing"] for one in of_ann] == ["renewed", "revoked"] and
               of_ann[0]["renewed_by"] == of_ann[1]["serial"], of_ann)
        expect(of_ann[1]["serial"] in ca(pool, "list", "--revoked"), "the revoked one is not listed")
        expect(of_ann[1]["serial"] not in ca(pool, "list", "--due"), "a revoked one is due")
        report = json.loads(ca(pool, "report", "-o", "json"))
        expect(report["by_tenant"]["vision"] == {"issued": 1, "renewed": 1, "revoked": 1, "due": 0,
                                                 "good": 1, "expired": 0}, report)
        expect(report["differences"] == [], report)
        # What is left of hers goes as a whole; then the list is tampered with, and that shows.
        ca(pool, "revoke", "--tenant", "vision")
        expect(json.loads(ca(pool, "report", "-o", "json"))["by_tenant"]["vision"]["good"] == 0,
               "something of the tenant is still good")
        (pool.authority.folder / "deny.crl").unlink()
        done = run([pool.farcall, "ca", "report", "--dir", pool.authority.folder],
                   clean_environment())
        expect(done.returncode == 125 and done.stdout.count("is revoked, and not on the deny list")
               == 2, done)
        ca(pool, "deny-list")
        ca(pool, "report")


def root_offline(build):
    """With the root's key in its safe certificates are issued, renewed and revoked as ever."""
    with Pool(build, denies=True) as pool:
        folder = pool.authority.folder
        (folder / "ca.key").rename(folder / "in-a-safe")
        ann = pool.authority.client("ann")
        pool.authority.renew(ann[0])
        done = pool.farcall_run(["true"], client=ann)
        expect(done.returncode == 0, done)
        pool.authority.revoke(ann[0])
        pool.await_log("1 certificate(s) denied")
        refused(pool.farcall_run(["true"], client=ann), "revoked")
        # The issuing authority itself can only be revoked with the key, and is with it.
        done = run([pool.farcall, "ca", "revoke", folder / "issuing.crt", "--dir", folder],
                   clean_environment())
        expect(done.returncode == 125 and "bring" in done.stderr, done)
        (folder / "in-a-safe").rename(folder / "ca.key")
        pool.authority.revoke(folder / "issuing.crt", "authority-compromise")
        pool.await_log("this server's own certificate was revoked")
        refused(pool.farcall_run(["true"]), "revoked")


if __name__ == "__main__":
    main({case.__name__: case for case in
          (client, server, worse_lists, renewal, reports, root_offline)})
