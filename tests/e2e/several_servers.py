"""One program, several servers: it sees the devices of all of them.

    several_servers.py BUILD union | structures | lost | unreachable | commands | managed
"""
import json
import signal

from pool import Pool, clean_environment, expect, main, run


def servers(*pools):
    return ",".join(pool.url() for pool in pools)


def union(build):
    """A device of each: kernels on each, copies and events between them, and figures of each."""
    with Pool(build) as a, Pool(build, beside=a) as b, Pool(build, beside=a) as c:
        program = a.program("many_devices")
        figures = a.folder / "stats"
        done = a.run([program, "3"], FARCALL_SERVER=servers(a, b, c), FARCALL_STATS=str(figures),
                     FARCALL_LOG="warn")
        expect(done.returncode == 0, done.stdout + done.stderr)
        expect(done.stdout == "3 devices\n", done.stdout)
        for pool, path in ((a, "stats"), (b, "stats.2"), (c, "stats.3")):
            about = json.loads((a.folder / path).read_text())
            expect(about["server"] == pool.url(), f"{path} is of {about['server']}")
            expect(about["calls"]["queued"]["total"] > 0, f"{path}: nothing was queued")
        # In the other order, and only some of them.
        done = a.run([program, "2"], FARCALL_SERVER=servers(c, a, b), CUDA_VISIBLE_DEVICES="2,0")
        expect(done.returncode == 0, done.stdout + done.stderr)
        done = a.run([program, "1"], FARCALL_SERVER=servers(a))
        expect(done.returncode == 0, done.stdout + done.stderr)


def structures(build):
    """What structures name goes to its owner, crosses, or is refused as CUDA does."""
    with Pool(build) as a, Pool(build, beside=a) as b:
        done = a.run([a.program("between_devices")], FARCALL_SERVER=servers(a, b))
        expect(done.returncode == 0 and done.stdout == "as on one machine\n",
               done.stdout + done.stderr)


def lost(build):
    """A server that is killed takes its own devices along, and nothing else."""
    with Pool(build) as a, Pool(build, beside=a) as b:
        program = a.start([a.program("many_devices"), "2", "lost"], FARCALL_SERVER=servers(a, b))
        try:
            expect(program.stdout.readline() == "ready\n", "the program did not get ready")
            b.server.send_signal(signal.SIGKILL)
            b.server.wait()
            out, err = program.communicate("\n", 60)
        finally:
            program.kill()
        expect(program.returncode == 0, out + err)
        expect(out == "the others go on\n", out)


def unreachable(build):
    """All servers or none: what is missing is told by name."""
    with Pool(build) as a:
        status = a.folder / "status"
        missing = "tcp://127.0.0.1:1"
        done = a.run([a.program("many_devices"), "2"], FARCALL_SERVER=f"{a.url()},{missing}",
                     FARCALL_STATUS=str(status))
        expect(done.returncode != 0, "the program ran without one of its servers")
        told = status.read_text()
        expect(missing in told and "one of 2 servers" in told, told)
        for wrong, words in ((f"{a.url()},", "comma"), (f"{a.url()},{a.url()}", "twice")):
            a.run([a.program("many_devices"), "2"], FARCALL_SERVER=wrong,
                  FARCALL_STATUS=str(status))
            expect(words in status.read_text(), status.read_text())


def commands(build):
    """farcall run and farcall gpus take the list, too."""
    with Pool(build) as a, Pool(build, beside=a) as b:
        certificate, key = a.client
        words = ["--server", servers(a, b), "--cert", certificate, "--key", key, "--ca",
                 a.authority.ca]
        done = run([a.farcall, "run", *words, "--", a.program("many_devices"), "2"],
                   clean_environment())
        expect(done.stdout == "2 devices\n", done.stdout + done.stderr)
        done = run([a.farcall, "gpus", *words, "-o", "json"], clean_environment())
        expect(done.returncode == 0, done.stderr)
        expect([gpu["index"] for gpu in json.loads(done.stdout)["gpus"]] == [0, 1], done.stdout)
        words[1] = f"{a.url()},tcp://127.0.0.1:1"
        done = run([a.farcall, "gpus", *words], clean_environment())
        expect(done.returncode != 0 and "127.0.0.1:1" in done.stderr, done.stdout + done.stderr)


def managed(build):
    """Managed and page-locked memory on each of two servers, in one process."""
    with Pool(build) as a, Pool(build, beside=a) as b:
        done = a.run([a.program("managed_devices"), "apart"], FARCALL_SERVER=servers(a, b))
        expect(done.returncode == 0, done.stdout + done.stderr)
        expect("managed_devices" in done.stdout, done.stdout + done.stderr)


main({"union": union, "structures": structures, "lost": lost, "unreachable": unreachable,
      "commands": commands, "managed": managed})
