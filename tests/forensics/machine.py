"""A server in an emulated machine, whose whole memory can be looked at; its clients are here.

    with Machine(build, rig, "init_on_free=1") as pool:     # a pool.Pool
        program = pool.start([...])
        pool.do("worker_killed")                             # a word of guest_server
        found = pool.scan_memory(canary)                     # all of it, the machine standing still
        found = pool.scan_swap(canary)

The machine has no network but one port of 127.0.0.1 here, and ends with this. Its memory is
written to a file by QEMU's monitor, which no kernel in it can know of. Not in there: what its
processors hold in registers.
"""
import collections
import json
import mmap
import pathlib
import re
import socket
import subprocess
import threading

from pool import Failure, Pool, expect

from scan import Found, scan_file

MEMORY_MB, SWAP_MB = 512, 256
PAGE = 4096
KINDS_MAX = 64  # pages whose kind is asked for
# Bits of /proc/kpageflags, the first that is set counts.
KINDS = {7: "slab", 10: "free", 12: "anonymous", 26: "page table", 5: "file", 32: "reserved"}
HERE = pathlib.Path(__file__).parent


class Monitor:
    """QEMU's, by QMP."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        json.loads(self._lines.readline())  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(f"QEMU's {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise Failure(f"QEMU ended at {command}")

    def close(self):
        self._lines.close()
        self._socket.close()


class Machine(Pool):
    patience_s = 500  # emulated, on a machine with other work

    def __init__(self, build, rig, arguments=""):
        super().__init__(build)
        self._rig, self._arguments, self._asked = rig, arguments, 0
        self._monitor = None

    def start_server(self):
        files = {"/pool/ca.crt": self.authority.ca, "/pool/server.crt": self.certificate,
                 "/pool/server.key": self.key}
        for name in ("bin/farcall-server", "bin/farcall-worker", "lib/software_gpu/libcuda.so.1"):
            files[f"/farcall/{name}"] = self.build / name
        image = self._rig.image(self.folder / "image", files, (HERE / "guest_server").read_text())
        monitor = self.folder / "monitor"
        self._swap = self.folder / "swap"
        with open(self._swap, "wb") as disk:
            disk.truncate(SWAP_MB << 20)
        devices = ["-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:7717",
                   "-device", "virtio-net-pci,netdev=net,romfile=",
                   "-drive", f"file={self._swap},format=raw,if=none,id=swap,cache=writethrough",
                   "-device", "virtio-blk-pci,drive=swap",
                   "-qmp", f"unix:{monitor},server=on,wait=off"]
        self.server = subprocess.Popen(
            self._rig.command(image, f"ip4=10.0.2.15 {self._arguments}", devices, MEMORY_MB),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace")
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self.await_log("listening on")
            self._monitor = Monitor(monitor)
            told = self._monitor.ask("human-monitor-command", **{"command-line": "info usernet"})
            self.port = int(re.search(r"127\.0\.0\.1\s+(\d+)\s+10\.0\.2\.15", told)[1])
        except BaseException:
            self.server.kill()
            raise

    def __exit__(self, kind, value, trace):
        if self._monitor is not None:
            self._monitor.close()
        super().__exit__(kind, value, trace)

    def _read_log(self):
        for line in self.server.stdout:
            with self._log_grew:
                self.log.append(line)
                self._log_grew.notify_all()

    def do(self, word, *more):
        """Returns when guest_server has done it."""
        self._asked += 1
        self.server.stdin.write(" ".join([word, str(self._asked), *map(str, more)]) + "\n")
        self.server.stdin.flush()
        self.await_log(f"] did {self._asked}\n")

    def scan_memory(self, canary):
        path = self.folder / "dump"
        self._monitor.ask("stop")
        self._monitor.ask("pmemsave", val=0, size=MEMORY_MB << 20, filename=str(path))
        self._monitor.ask("cont")
        found = Found()
        with open(path, "rb") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
                found.add("memory", canary.count(memory), len(memory))
                pages = pages_of(memory, canary) if found.total else []
        path.unlink()
        if 0 < len(pages) <= KINDS_MAX:
            found.where = self._kinds(pages)
        return found

    def _kinds(self, pages):
        """What they are now, which is most likely what they were."""
        before = len(self.log)
        self.do("kinds", *pages)
        kinds = collections.Counter()
        for line in self.log[before:]:
            told = re.match(r"page \d+: ([0-9a-f]{8}) ([0-9a-f]{8})", line)
            if told:
                flags = int(told[1], 16) | int(told[2], 16) << 32
                kinds[next((name for bit, name in KINDS.items() if flags >> bit & 1),
                           "the kernel's own or free")] += 1
        return kinds

    def scan_swap(self, canary):
        """All that was ever swapped, for nothing overwrites it but what is swapped next."""
        found = Found()
        scan_file(self._swap, canary, found, "swap")
        return found


def pages_of(memory, canary):
    pages = set()
    for needle in canary.needles:
        at = memory.find(needle)
        while at >= 0:
            pages.add(at // PAGE)
            at = memory.find(needle, at + len(needle))
    return sorted(pages)
