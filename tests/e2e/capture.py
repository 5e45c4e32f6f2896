#!/usr/bin/env python3
"""Looks for a program's data in the traffic between it and the server; there must be none.

Usage: capture.py BUILD recorder|tcpdump|detector

recorder  the traffic as a proxy of our own sees it: needs no privilege
tcpdump   the packets on the loopback interface; skipped where capturing is not permitted
detector  the detector finds a pattern that was sent in the clear, so that silence means something
"""
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from pool import Failure, Pool, expect, main, skip
from recorder import Recorder, find_pattern, pieces

KERNEL_NAME = b"kernel_name_that_must_not_be_seen"
TRAFFIC_BYTES_MIN = 3_000_000  # carry_pattern moves a MiB three times


def new_pattern():
    """64 bytes of text nobody else sends."""
    return ("canary-" + secrets.token_hex(32))[:63]


def needles_of(pattern):
    # The program ends the text with a zero byte and repeats all 64.
    return pieces(pattern.encode() + b"\0") | {KERNEL_NAME}


def recorder(build):
    pattern = new_pattern()
    with Pool(build) as pool:
        path = pool.program("carry_pattern")
        with Recorder(pool.port) as recording:
            done = pool.run([path, pattern], port=recording.port)
        expect(done.returncode == 0, done.stdout + done.stderr)
    streams = recording.streams()
    total = sum(len(stream) for stream in streams)
    expect(total > TRAFFIC_BYTES_MIN, f"only {total} bytes went by the recorder")
    found = find_pattern(streams, needles_of(pattern))
    expect(found is None, f"the traffic holds {found!r}")
    print(f"{total} bytes in {len(streams)} streams, none of them the program's")


def listen_and_swallow():
    """A server in the clear: reads until its one client has said all."""
    listener = socket.create_server(("127.0.0.1", 0))

    def swallow():
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=swallow, daemon=True)
    thread.start()
    return listener, thread


def send_in_the_clear(port, pattern):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall((pattern.encode() + b"\0") * 100)


def detector(_build):
    pattern = new_pattern()
    listener, thread = listen_and_swallow()
    with listener, Recorder(listener.getsockname()[1]) as recording:
        send_in_the_clear(recording.port, pattern)
        thread.join(10)
    expect(find_pattern(recording.streams(), needles_of(pattern)),
           "the detector missed a pattern that was sent in the clear")
    expect(find_pattern(recording.streams(), needles_of(new_pattern())) is None,
           "the detector found a pattern that nobody sent")
    expect(find_pattern([b".." + KERNEL_NAME + b".."], needles_of(pattern)) == KERNEL_NAME,
           "the detector missed a kernel's name")


class Tcpdump:
    def __init__(self, folder, ports):
        self.file = folder / "packets.pcap"
        wanted = " or ".join(f"tcp port {port}" for port in ports)
        self._process = subprocess.Popen(
            ["tcpdump", "-i", "lo", "-s", "0", "-U", "--immediate-mode", "-B", "65536", "-Z",
             "root", "-w", str(self.file), wanted],
            stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            if "listening on" in line:
                return
        self._process.wait()
        skip("tcpdump may not capture here")

    def stop_after(self, needles):
        """What was captured, once one of these is in it; after 20 s in any case."""
        for _ in range(200):
            if self.file.exists() and find_pattern([self.file.read_bytes()], needles):
                break
            try:
                # tcpdump drops what it has not read yet when it is told to end.
                self._process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                pass
        self._process.send_signal(signal.SIGINT)
        said = self._process.communicate(timeout=30)[1]
        return self.file.read_bytes(), said


def tcpdump(build):
    if shutil.which("tcpdump") is None:
        skip("no tcpdump here")
    pattern, planted = new_pattern(), new_pattern()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="farcall-test-"))
    try:
        listener, thread = listen_and_swallow()
        with listener, Pool(build) as pool:
            path = pool.program("carry_pattern")
            capture = Tcpdump(folder, [pool.port, listener.getsockname()[1]])
            done = pool.run([path, pattern])
            # Last of all, so that all before it is in the capture once this is.
            send_in_the_clear(listener.getsockname()[1], planted)
            thread.join(10)
            packets, said = capture.stop_after(needles_of(planted) - {KERNEL_NAME})
        expect(done.returncode == 0, done.stdout + done.stderr)
        expect(find_pattern([packets], needles_of(planted) - {KERNEL_NAME}),
               f"the capture lacks even what was planted: {said}")
        expect(len(packets) > TRAFFIC_BYTES_MIN, f"only {len(packets)} bytes captured: {said}")
        found = find_pattern([packets], needles_of(pattern))
        expect(found is None, f"the packets hold {found!r}")
        print(f"{len(packets)} bytes captured, none of them the program's")
    except subprocess.TimeoutExpired:
        raise Failure("tcpdump does not stop") from None
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main({"recorder": recorder, "tcpdump": tcpdump, "detector": detector})
