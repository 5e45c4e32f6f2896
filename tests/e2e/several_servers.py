"""One program, several servers: it sees the devices of all of them.

    several_servers.py BUILD union | structures | direct | killed | not_direct | impostor |
                        lost | unreachable | commands | managed
"""
import json
import signal

from pool import Pool, clean_environment, expect, free_ports, main, run


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


COPY_BYTES = 12 << 20  # many_devices.cu


def copy_between(a, b):
    """Runs a program that copies between the devices of a and b; its figures of both."""
    done = a.run([a.program("many_devices"), "2"], FARCALL_SERVER=servers(a, b),
                 FARCALL_STATS=str(a.folder / "stats"), FARCALL_LOG="warn")
    expect(done.returncode == 0 and done.stdout == "2 devices\n", done.stdout + done.stderr)
    return [json.loads((a.folder / path).read_text()) for path in ("stats", "stats.2")]


def times(figures, kind, name):
    return figures["calls"][kind].get(name, 0)


def direct(build):
    """Where both servers list each other, bytes go from one to the other and not through here."""
    ports = free_ports(2)
    peers = [f"{name}@127.0.0.1:{port}" for name, port in zip("ab", ports)]
    with Pool(build, name="a", port=ports[0], server_words=("--peers", peers[1])) as a, \
         Pool(build, name="b", port=ports[1], beside=a, server_words=("--peers", peers[0])) as b:
        straight = copy_between(a, b)
        a.await_log("a link from b, for copies")
        b.await_log("a link from a, for copies")
        dials = sum("a link to b, for copies" in line for line in a.log)
        expect(dials == 1, f"{dials} links for one session")
    with Pool(build) as a, Pool(build, beside=a) as b:
        through = copy_between(a, b)
    for one, other in zip(straight, through):
        pushed = times(one, "sync", "direct_push")
        expect(pushed > 0, f"nothing went straight: {one['calls']}")
        expect(times(one, "local", "copy_through_client") == 0, "some went through the client")
        expect(times(other, "sync", "direct_push") == 0, "some went straight without --peers")
        # What was pushed is just what this client neither got nor sent.
        saved = other["bulk_bytes_in"] - one["bulk_bytes_in"]
        expect(saved == pushed * COPY_BYTES, f"{pushed} copies saved {saved} bytes of link")


def killed(build):
    """A server that is killed while it sends ends that copy; the receiver's session goes on."""
    ports = free_ports(2)
    peers = [f"{name}@127.0.0.1:{port}" for name, port in zip("ab", ports)]
    with Pool(build, name="a", port=ports[0], server_words=("--peers", peers[1])) as a, \
         Pool(build, name="b", port=ports[1], beside=a, server_words=("--peers", peers[0])) as b:
        program = a.start([a.program("many_devices"), "2", "copying"], FARCALL_SERVER=servers(a, b))
        try:
            a.await_log("a link from b, for copies")
            b.server.send_signal(signal.SIGKILL)
            b.server.wait()
            out, err = program.communicate(timeout=60)
        finally:
            program.kill()
        expect(program.returncode == 0 and out == "ready\nthe others go on\n", out + err)


def not_direct(build):
    """Whatever stands between two servers, the copies are made; and the log says what it was."""
    ports = free_ports(3)
    there = f"@127.0.0.1:{ports[1]}"
    # By what a and b list, and who listens where a looks for b.
    for of_a, of_b, name_of_b, words in (
            (f"b{there}", "other@127.0.0.1:1", "b", None),  # b does not want a
            (f"b@127.0.0.1:{ports[2]}", "a@127.0.0.1:1", "b", "no link to b"),  # nobody is there
            (f"b{there}", "a@127.0.0.1:1", "b", "no link to a"),  # one way only
    ):
        with Pool(build, name="a", port=ports[0], server_words=("--peers", of_a)) as a, \
             Pool(build, name=name_of_b, port=ports[1], beside=a,
                  server_words=("--peers", of_b)) as b:
            figures = copy_between(a, b)
            relayed = sum(times(one, "local", "copy_through_client") for one in figures)
            expect(relayed > 0, "no copy went through the client")
            if words == "no link to a":
                b.await_log(words)
                expect(times(figures[0], "sync", "direct_push") > 0, "a did not reach b")
            elif words:
                a.await_log(words)


def impostor(build):
    """A server that is not who it should be, or of another pool, gets nothing."""
    ports = free_ports(3)
    peers = [f"{name}@127.0.0.1:{port}" for name, port in zip("abc", ports)]
    wrong = f"b@127.0.0.1:{ports[2]}"  # where c listens
    with Pool(build, name="a", port=ports[0], server_words=("--peers", wrong)) as a, \
         Pool(build, name="b", port=ports[1], beside=a, server_words=("--peers", peers[0])) as b:
        with Pool(build, name="c", port=ports[2], beside=a, server_words=("--peers", peers[0])):
            copy_between(a, b)
            a.await_log("the server there is c, and not b")
        with Pool(build, name="b", port=ports[2], server_words=("--peers", peers[0])):
            copy_between(a, b)
            a.await_log("not issued by our CA")


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


main({"union": union, "structures": structures, "direct": direct, "killed": killed,
      "not_direct": not_direct, "impostor": impostor, "lost": lost,
      "unreachable": unreachable, "commands": commands, "managed": managed})
