"""The scanner finds a canary wherever one is planted, and says what it cannot read."""
import os
import pathlib
import signal
import socket
import subprocess
import sys

from pool import expect
from recorder import Recorder

from canary import Canary
from disk import Disk, scan_shared
from last_breath import LastBreath
from report import Promise, Report
from scan import Found, scan_bytes, scan_process

# Holds the canary of a seed in memory of one kind, without having it twice.
HOLDER = """
import ctypes, mmap, os, sys
sys.path.insert(0, sys.argv[1])
from canary import Canary
kind, text = sys.argv[2], Canary(int(sys.stdin.readline(), 16)).pattern("pool")
libc = ctypes.CDLL(None, use_errno=True)
size = 1 << 20
if kind == "secret":
    fd = libc.syscall(447, 0)   # memfd_secret
    if fd < 0: print("none", flush=True); sys.exit()
    os.ftruncate(fd, size)
    room = mmap.mmap(fd, size)
elif kind == "file":
    fd = os.memfd_create("planted")
    os.ftruncate(fd, size)
    room = mmap.mmap(fd, size)
    room[5000:5016] = text
    room.close()
else:
    room = mmap.mmap(-1, size)
if kind != "file":
    room[5000:5016] = text
if kind == "closed":
    at = ctypes.addressof(ctypes.c_char.from_buffer(room))
    libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), 0)
if kind == "edge":
    room[4096 * 3 - 7:4096 * 3 + 9] = text
del text
print("held", flush=True)
sys.stdin.readline()
os._exit(0)
"""


def hold(kind, canary):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(pathlib.Path(__file__).parent),
                               kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write(f"{canary.seed:x}\n")
    holder.stdin.flush()
    return holder, holder.stdout.readline().strip()


def in_memory():
    for kind in ("anonymous", "closed", "edge", "file", "secret"):
        canary = Canary()
        holder, said = hold(kind, canary)
        try:
            if said == "none":
                print("memfd_secret is not to be had here")
                continue
            found = scan_process(holder.pid, canary)
            if kind == "secret":
                expect(found.unreadable >= 1 << 20, "secret memory passes for readable")
                report = Report()
                report.add("worker", "live", found)
                expect(report.broken(), "unreadable memory passes for clean")
            else:
                expect(found.hits["pool"] >= 1, f"missed in {kind} memory: {found.hits}")
                expect(found.unreadable == 0, f"{found.unreadable} bytes of {kind} unreadable")
            expect(not scan_process(holder.pid, Canary()).hits, "found what nobody holds")
        finally:
            holder.kill()
            holder.communicate()


def at_the_end():
    """A process that is killed leaves what it held: the leaky run that must be red."""
    for ending in (signal.SIGKILL, None):
        canary = Canary()
        holder, _ = hold("anonymous", canary)
        try:
            with LastBreath(holder.pid) as dying:
                if ending:
                    holder.send_signal(ending)
                else:
                    holder.stdin.write("\n")
                    holder.stdin.flush()
                found = dying.wait(lambda: scan_process(holder.pid, canary))
        except PermissionError:
            print("ptrace is not permitted here")
            return
        finally:
            holder.kill()
            holder.communicate()
        expect(found is not None and found.hits["pool"] >= 1, "missed in a process that ends")
        report = Report()
        report.add("worker", "as it ends", found)
        expect(report.leaks(), "a leak is not told")


def on_disk():
    canary, disk = Canary(), Disk.open()
    expect(not disk.scan(canary).hits, "found on the disk before it was written")
    planted = disk.own / "planted"
    planted.write_bytes(b"x" * 100 + canary.pattern("graph") * 1000)
    found = disk.scan(canary)
    expect(found.hits["graph"] == 1000, f"missed in a file: {found.hits}")
    planted.unlink()
    expect(not disk.scan(canary).hits, "found in a file that is gone")
    if disk.is_whole:
        expect(disk.scan_raw(canary).hits["graph"] >= 1, "missed in a deleted file's blocks")
        elsewhere = pathlib.Path("/var/tmp") / f"planted-{canary.seed:x}"
        elsewhere.write_bytes(canary.pattern("small"))
        expect(disk.scan(canary).hits["small"] == 1, "missed in another folder")
    else:
        print(disk.why)
    shared = pathlib.Path(f"/dev/shm/farcall-planted-{os.getpid()}")
    try:
        shared.write_bytes(canary.pattern("mapped"))
        expect(scan_shared(canary).hits["mapped"] == 1, "missed in shared memory")
    finally:
        shared.unlink()


def on_the_wire():
    canary = Canary()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Recorder(listener.getsockname()[1]) as wire:
            with socket.create_connection(("127.0.0.1", wire.port)) as client:
                served, _ = listener.accept()
                with served:
                    client.sendall(b".." + canary.pattern("pinned") + b"..")
                    client.shutdown(socket.SHUT_WR)
                    while served.recv(4096):
                        pass
    found = Found()
    for stream in wire.streams():
        found.merge(scan_bytes(stream, canary))
    expect(found.hits["pinned"] == 1, "missed on the wire")
    text = canary.pattern("printed").hex().encode()
    expect(scan_bytes(text, canary).hits["printed"] == 1, "missed as text")
    blind = Report()
    blind.add("worker", "live", Found(), Promise.SOMETHING)
    expect(blind.leaks(), "a scanner that finds nothing passes for one that looked")


def scanner(_build):
    in_memory()
    at_the_end()
    on_the_wire()
    on_disk()
