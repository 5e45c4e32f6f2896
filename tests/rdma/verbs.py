#!/usr/bin/env python3
"""Farcall over real RDMA verbs, in emulated guests with Soft-RoCE.

Usage: verbs.py BUILD one|two     the job of tests/rdma/guest/ in one guest, or between two
       verbs.py BUILD fetch       gets the guests' kernel: 70 MB, once

FARCALL_RDMA_CACHE: where the kernel lies; default BUILD/rdma-guest.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import pool  # noqa: E402: the e2e tests' helpers
import rig  # noqa: E402

# Copies of every kind, threads, fork, an error: each checks its own results.
PROGRAMS = ["vector_add", "big_copies", "pinned_memory", "memset_and_pitched", "streams_overlap",
            "host_threads", "fork_child", "endless_calls"]
PATIENCE_S = 850  # 2 min on an idle machine
SERVER_NAMES = "10.99.0.1,10.98.0.1,localhost"


def contents(build, folder):
    """Guest path -> path here."""
    authority = pool.Authority(build, folder)
    certificate, key = authority._issue("server", "--server", "localhost", "--names", SERVER_NAMES)
    client = authority.client()
    files = {"/pool/ca.crt": authority.ca, "/pool/server.crt": certificate,
             "/pool/server.key": key, "/pool/client.crt": client[0], "/pool/client.key": client[1]}
    for name in ["bin/farcall", "bin/farcall-server", "bin/farcall-worker", "bin/rdma_test", "lib/libcuda.so.1",
                 "lib/libfarcall_ucx.so", "lib/software_gpu/libcuda.so.1"]:
        if not (build / name).is_file():
            pool.skip(f"{name} is not built")
        files[f"/farcall/{name}"] = build / name
    for name in PROGRAMS:
        files[f"/e2e/{name}"] = pool.program(build, name)
    return files


def in_guests(job):
    def case(build):
        try:
            machine = rig.Rig(rig.cache_of(build))
            with tempfile.TemporaryDirectory(prefix="farcall-rdma-") as folder:
                folder = pathlib.Path(folder)
                script = (rig.HERE / "guest" / job).read_text()
                image = machine.image(folder / "image", contents(build, folder), script)
                boot = machine.boot if job == "one" else machine.boot_two
                status, *logs = boot(image, PATIENCE_S)
        except rig.Missing as missing:
            pool.skip(missing)
        print("\n-- the other guest --\n".join(logs))
        pool.expect(status == 0, f"the guest's job ended with {status}")
    return case


if __name__ == "__main__":
    pool.main({"one": in_guests("one"), "two": in_guests("two"),
               "fetch": lambda build: rig.fetch_kernel(rig.cache_of(build))})
