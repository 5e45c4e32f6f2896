#!/usr/bin/env python3
"""Images that a server keeps from one run to the next: what is sent, what lies on its disk.

Usage: module_cache.py BUILD CASE      CASE is one of the functions below
"""
import json

from pool import OFF, Pool, expect, main, skip

MEGABYTES = 100
CANARIES = (b"carry-pattern", b".visible .entry answer")


def run(pool, megabytes, **more):
    """Runs the program; bytes that it sent, and round trips."""
    stats = pool.folder / "stats.json"
    done = pool.run([pool.program("large_image"), megabytes], FARCALL_STATS=str(stats), **more)
    expect(done.returncode == 0 and done.stdout == "the answer is 42\n",
           f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    figures = json.loads(stats.read_text())
    return figures["wire_bytes_out"], figures["round_trips"]


def files(pool):
    return [path for path in pool.module_cache.rglob("*") if path.is_file()]


def second_start(build):
    """The second start of a program that loads 100 MB moves less than 1 % of them."""
    with Pool(build) as pool:
        first, trips = run(pool, MEGABYTES)
        size = MEGABYTES << 20
        # The program's image is twice as long: half of it is for no device.
        expect(size < first < 1.01 * size, f"the first start sent {first} bytes")
        second, again = run(pool, MEGABYTES)
        expect(second < 0.01 * size, f"the second start sent {second} bytes")
        expect(again < trips, f"{again} round trips after {trips}")
        print(f"first start {first} bytes in {trips} round trips, second {second} in {again}")
        expect(len(files(pool)) == 1, f"{files(pool)}")
        text = files(pool)[0].read_bytes()
        for canary in CANARIES:
            expect(canary not in text, f"{canary} lies on the server's disk")
        # Switched off, everything goes, and nothing is kept.
        whole, _ = run(pool, 4, FARCALL_OFF="module-cache,module-trim")
        expect(whole > 8 << 20, f"without trimming only {whole} bytes were sent")
        expect(len(files(pool)) == 1, f"{files(pool)}")


def strangers(build):
    """Another tenant, and another user of the same one, find nothing; each file is its owner's."""
    with Pool(build) as pool:
        size = 4 << 20
        expect(run(pool, 4)[0] > size, "the first run sent nothing")
        own = pool.client
        for user, tenant in (("bob", "acme"), ("ana", "other")):
            pool.client = pool.authority.client(user, tenant)
            expect(run(pool, 4)[0] > size, f"{user} found an image that is another's")
            expect(run(pool, 4)[0] < size / 100, f"{user} did not find their own")
        pool.client = own
        expect(run(pool, 4)[0] < size / 100, "the first user's image is gone")
        folders = {path.parent.name: 0 for path in files(pool)}
        expect(len(folders) == 2 and len(files(pool)) == 3, f"{files(pool)}")


def damage(build):
    """A changed file is as good as none."""
    with Pool(build) as pool:
        size = 4 << 20
        run(pool, 4)
        path, = files(pool)
        text = bytearray(path.read_bytes())
        text[len(text) // 2] ^= 1
        path.write_bytes(text)
        expect(run(pool, 4)[0] > size, "a damaged image was believed")
        expect(run(pool, 4)[0] < size / 100, "the image was not kept again")


def bounded(build):
    """The oldest images make room; one that is larger than the cache is not kept."""
    with Pool(build, module_cache_size="10M") as pool:
        for megabytes in (4, 5, 6):
            run(pool, megabytes)
        kept = sum(path.stat().st_size for path in files(pool))
        expect(0 < kept <= 10 << 20, f"{kept} bytes are kept")
        run(pool, 11)
        expect(run(pool, 11)[0] > 11 << 20, "an image was found that cannot have been kept")
        expect(run(pool, 6)[0] < 1 << 20, "the newest image is gone")


if __name__ == "__main__":
    if {"all", "module-cache", "module-trim"} & set(OFF.split(",")):
        skip("images are neither chosen from nor kept here")
    main({case.__name__: case for case in (second_start, strangers, damage, bounded)})
