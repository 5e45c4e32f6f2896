#!/usr/bin/env python3
"""Who is not let in, and that they are told why and what to do.

Usage: refusals.py BUILD CASE      CASE is one of the functions below
"""
import pathlib
import re
import socket
import ssl
import struct

from pool import Authority, Failure, Pool, clean_environment, expect, main, run

FARCALL_FAILED = 125


def refused(done, *words):
    """farcall run ended before the program, with a message that holds each of `words`."""
    expect(done.returncode == FARCALL_FAILED and done.stdout == "",
           f"exit code {done.returncode}, {done.stdout}{done.stderr}")
    for word in words:
        expect(re.search(word, done.stderr, re.IGNORECASE),
               f"the message does not say {word!r}: {done.stderr}")
    print(done.stderr, end="")


def expect_no_device(pool, **more):
    """Without farcall run in front, a program sees an error of CUDA's, not a crash."""
    done = pool.run([pool.program("vector_add")], **more)
    expect(done.returncode == 1 and "cudaError" in done.stdout,
           f"exit code {done.returncode}, {done.stdout}{done.stderr}")


def other_authority(build):
    with Pool(build) as pool:
        folder = pool.folder / "other"
        folder.mkdir()
        other = Authority(build, folder)
        stranger = other.client("stranger")
        # The stranger's certificate, then a stranger's idea of who the server is.
        refused(pool.farcall_run(["true"], client=stranger), "certificate", "issue|authority|CA")
        refused(pool.farcall_run(["true"], ca=other.ca), "certificate", "issue|authority|CA")
        refused(pool.farcall_run(["true"], client=stranger, ca=other.ca), "certificate")
        expect_no_device(pool, client=stranger)


def expired(build):
    with Pool(build) as pool:
        late = pool.authority.expired_client()
        refused(pool.farcall_run(["true"], client=late), "expired", "2024-01-08", "farcall ca")
        expect_no_device(pool, client=late)
        # A client that does not look at its own certificate is stopped by the server.
        said = raw_refusal(pool, *late)
        expect("expired" in said, said)
        expect(not pool.workers(), "a worker was started")


def no_certificate(build):
    with Pool(build) as pool:
        nowhere = pool.folder / "nowhere"
        refused(pool.farcall_run(["true"], client=(nowhere, nowhere)), "nowhere: No such file")
        refused(run([pool.farcall, "run", "--server", "127.0.0.1:1", "--", "true"],
                    clean_environment() | {"HOME": str(pool.folder)}), "--cert", "FARCALL_CERT")
        said = raw_refusal(pool, None, None)
        expect("certificate" in said and "required" in said, said)


def wrong_purpose(build):
    """A server's certificate shown as a client's, and the other way round."""
    with Pool(build) as pool:
        server = (pool.certificate, pool.key)
        refused(pool.farcall_run(["true"], client=server), "no client certificate")
        said = raw_refusal(pool, *server)
        expect("certificate" in said, said)
        done = run([build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", "--cert",
                    pool.client[0], "--key", pool.client[1], "--ca", pool.authority.ca,
                    "--module-cache", "off", "--audit", "off"],
                   clean_environment())
        expect(done.returncode != 0 and re.search("server", done.stderr), done.stderr)
        print(done.stderr, end="")


def other_name(build):
    """The server's certificate names another host than the one dialled."""
    with Pool(build) as pool:
        done = run([pool.farcall, "run", "--server", f"127.0.0.1:{pool.port}", "--name",
                    "gpu9.example", "--cert", pool.client[0], "--key", pool.client[1], "--ca",
                    pool.authority.ca, "--", "true"], clean_environment())
        refused(done, "certificate", "name", "dial|issue")


def nobody_there(build):
    with Pool(build) as pool:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        refused(pool.farcall_run(["true"], port=port), f"127.0.0.1:{port}", "refused|connect")


def tls_context(pool, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(pool.authority.ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def raw_refusal(pool, certificate, key):
    """What a client of ours that checks nothing about itself is told: a TLS alert."""
    context = tls_context(pool, certificate, key)
    try:
        with socket.create_connection(("127.0.0.1", pool.port)) as plain, \
             context.wrap_socket(plain, server_hostname="127.0.0.1") as channel:
            channel.sendall(struct.pack("<I", 4))
            answer = channel.recv(4096)
    except (ssl.SSLError, ConnectionResetError) as told:
        return str(told).lower().replace("_", " ")
    raise Failure(f"it was let in, and answered {answer!r}")


def say_hello(pool, protocol, fingerprint, version=b"9.9"):
    """A client's hello by hand (transport/README.md), and the text of the server's refusal."""
    hello = struct.pack("<IHHQIH", 0x31484346, protocol, 0, fingerprint, 1, len(version)) + version
    # Carriers: tcp; connections for payloads; AES-256, a key for 64 GiB, on each lane; no lease.
    hello += struct.pack("<HBBBBBH", 1, 1, 0, 36, 0, 36, 0)
    with socket.create_connection(("127.0.0.1", pool.port)) as plain, \
         tls_context(pool, *pool.client).wrap_socket(plain, server_hostname="127.0.0.1") as channel:
        channel.sendall(struct.pack("<I", len(hello)) + hello)
        answer = b""
        while part := channel.recv(4096):
            answer += part
    return answer.decode("ascii", "replace")


def other_version(build):
    with Pool(build) as pool:
        printed = run([pool.farcall, "version"], clean_environment()).stdout
        fingerprint = int(re.search(r"table ([0-9a-f]{16})", printed).group(1), 16)
        said = say_hello(pool, 77, fingerprint)
        expect("77" in said and "9.9" in said and "same version" in said, said)
        said = say_hello(pool, 6, fingerprint ^ 1)
        for value in (fingerprint, fingerprint ^ 1):
            expect(f"{value:016x}" in said, said)
        expect(not pool.workers(), "a worker was started for a client of another version")
        # And a server of another version, seen from the client.
        pool.await_log("protocol 77")


def old_tls(build):
    """TLS 1.2 is not spoken, whatever the client would accept."""
    with Pool(build) as pool:
        context = tls_context(pool, *pool.client)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            with socket.create_connection(("127.0.0.1", pool.port)) as plain:
                context.wrap_socket(plain, server_hostname="127.0.0.1").close()
        except ssl.SSLError as told:
            expect("version" in str(told).lower(), str(told))
            return
        raise Failure("TLS 1.2 was accepted")


def command_line(build):
    """farcall run leaves its program alone: output, exit code, signals; and says what is wrong."""
    with Pool(build) as pool:
        done = pool.farcall_run(["sh", "-c", "echo out; echo err >&2; exit 42"])
        expect((done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n"), str(done))
        done = pool.farcall_run(["sh", "-c", "kill -TERM $$"])
        expect(done.returncode == -15, str(done))
        expect(pool.farcall_run([pool.folder / "nowhere"]).returncode == 127, "not 127")
        expect(pool.farcall_run([pool.folder]).returncode == 126, "not 126")
        done = run([pool.farcall, "run", "--nonsense"], clean_environment())
        expect(done.returncode == 2, "not 2")
        expect(pathlib.Path(pool.folder).stat().st_mode & 0o077 == 0, "others may read the pool")


if __name__ == "__main__":
    main({case.__name__: case for case in (
        other_authority, expired, no_certificate, wrong_purpose, other_name, nobody_there,
        other_version, old_tls, command_line)})
