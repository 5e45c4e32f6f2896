#!/usr/bin/env python3
"""farcall netperf against a real server: plausible figures, no device touched, errors in words.

Usage: netperf.py BUILD CASE      CASE is one of the functions below
"""
import json

from pool import Pool, clean_environment, expect, main, run


def netperf(pool, *words, **more):
    certificate, key = pool.client
    return run([pool.farcall, "netperf", "--server", f"127.0.0.1:{pool.port}", "--cert",
                certificate, "--key", key, "--ca", pool.authority.ca, *words],
               clean_environment() | more)


def figures(build):
    with Pool(build) as pool:
        done = netperf(pool, "-o", "json")
        expect(done.returncode == 0, f"{done.stdout}{done.stderr}")
        told = json.loads(done.stdout)
        trip = told["round_trip"]
        expect(trip["count"] > 0, trip)
        expect(0 < trip["lowest_us"] <= trip["median_us"] <= trip["p99_us"], trip)
        for name in ("queued_call_us", "to_server_gb_s", "to_client_gb_s"):
            expect(told[name] > 0, f"{name}: {told[name]}")
        expect(told["verdict"]["bottleneck"] in ("latency", "wire", "crypto"), told["verdict"])
        expect(told["carrier"] in told["link"], told)
        # A session of its own: the next program finds the server as it was.
        again = netperf(pool)
        expect(again.returncode == 0 and "Copying 1 GiB takes" in again.stdout, again.stderr)


def engines(build):
    """Each end seals with what it was told to; the other does not mind."""
    with Pool(build) as pool:
        done = netperf(pool, "-o", "json", FARCALL_ENGINE="evp")
        expect(done.returncode == 0, f"{done.stdout}{done.stderr}")
        told = json.loads(done.stdout)
        expect(told["client"]["engine"] == "EVP" and "(EVP)" in told["link"], told)
        expect(told["server_end"]["engine"] in ("EVP", "ipsec-mb"), told)


def carrier(build):
    """On the server's own host by shared memory, unless the client's switch says otherwise."""
    with Pool(build) as pool:
        for off, expected in (("", "shm"), ("shm", "tcp"), ("all", "tcp")):
            done = netperf(pool, "-o", "json", FARCALL_OFF=off)
            expect(done.returncode == 0, f"{done.stdout}{done.stderr}")
            told = json.loads(done.stdout)
            expect(told["carrier"] == expected, f"FARCALL_OFF={off}: {told['carrier']}")
        done = netperf(pool, FARCALL_OFF="smh")
        expect(done.returncode == 125 and "smh" in done.stderr, f"{done.returncode}: {done.stderr}")


def no_server(build):
    with Pool(build) as pool:
        pool.server.terminate()
        pool.server.wait()
        done = netperf(pool)
        expect(done.returncode == 125 and done.stdout == "", f"{done.returncode}: {done.stdout}")
        expect("cannot connect" in done.stderr, done.stderr)


if __name__ == "__main__":
    main({case.__name__: case for case in (figures, engines, carrier, no_server)})
