"""A machine with RDMA for a test, where there is none: Debian's kernel with Soft-RoCE, emulated.

    rig = Rig(cache_folder)                              # raises Missing when something lacks
    image = rig.image(path, {"/pool/ca.crt": here}, script)
    status, log = rig.boot(image, 120)                   # one guest
    status, log, other = rig.boot_two(image, 120)        # two, joined by a virtual cable

Emulated by QEMU's TCG: needs no /dev/kvm and no root. A guest boots in about 3 s, runs `script`
under busybox's sh as init, and ends with its exit status. Nothing leaves the machine: the cable is
a Unix socket. The kernel package is fetched by apt only by fetch_kernel(), into the cache folder.
"""
import gzip
import lzma
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
# crc32_generic: rxe computes its checksums with it, and no module dependency says so.
# virtio_blk: a disk to swap to.
MODULES = ["crc32_generic", "virtio_pci", "virtio_net", "virtio_blk", "rdma_rxe", "ib_uverbs",
           "rdma_ucm", "dummy"]
# What every guest has, beside busybox: programs with the libraries they name, and those they load
# by dlopen.
TOOLS = ["/usr/bin/rdma", "/bin/ip"]
LOADED = [LIBRARIES / "libgcc_s.so.1", LIBRARIES / "ucx/libuct_ib.so.0",
          LIBRARIES / "ucx/libuct_rdmacm.so.0", LIBRARIES / "libibverbs/librxe-rdmav34.so"]
KERNEL_ARGUMENTS = ("console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on "
                    "tsc=reliable no_timer_check")


GUEST_MEMORY_MB = 2048
# Its time goes by the instructions it executes, 2 ns each: however long it waits for its turn on a
# busy host, nothing in it runs out of time. (By the host's clock it would, and it measures its own
# clock at its start: one that had to wait then runs up to ten times too fast.)
EMULATION = ["-accel", "tcg,thread=single", "-icount", "shift=1", "-cpu", "max", "-smp", "1"]


class Missing(Exception):
    """What this machine lacks for an emulated guest; says how to get it."""


def cache_of(build):
    """Where the guests' kernel lies."""
    return pathlib.Path(os.environ.get("FARCALL_RDMA_CACHE", build / "rdma-guest"))


def is_fetched(cache):
    listed = cache / "modules"
    return listed.is_file() and listed.read_text().split() == MODULES


def fetch_kernel(cache):
    """Unpacks vmlinux and the modules of Debian's kernel into `cache`. Downloads 70 MB, once."""
    if is_fetched(cache):
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    shown = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True, text=True,
                           capture_output=True).stdout
    package = next(line.split()[1] for line in shown.splitlines() if "Depends: linux-image" in line)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        folder = pathlib.Path(folder)
        subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True,
                       stderr=subprocess.DEVNULL)
        archive = next(folder.glob("*.deb"))
        subprocess.run(["dpkg", "-x", archive, folder / "root"], check=True)
        kept = folder / "kept"
        kept.mkdir()
        version = next((folder / "root/lib/modules").iterdir()).name
        subprocess.run(["depmod", "-b", folder / "root", version], check=True,
                       stderr=subprocess.DEVNULL)
        for number, module in enumerate(load_order(folder / "root/lib/modules" / version)):
            shutil.copy(module, kept / f"{number:02}-{module.name}")
        (kept / "vmlinux").write_bytes(
            decompressed(next((folder / "root/boot").glob("vmlinuz-*")).read_bytes()))
        (kept / "version").write_text(version + "\n")
        (kept / "modules").write_text("\n".join(MODULES) + "\n")
        shutil.rmtree(cache, ignore_errors=True)
        kept.rename(cache)


def load_order(folder):
    """MODULES and all they need, each after what it needs."""
    needs, paths = {}, {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, below = line.partition(":")
        name = pathlib.Path(path).stem.replace("-", "_")
        paths[name] = folder / path
        needs[name] = [pathlib.Path(word).stem.replace("-", "_") for word in below.split()]
    order = []
    for module in MODULES:
        # modules.dep names the nearest first; what is built into the kernel is not in it.
        for name in [*reversed(needs.get(module, [])), module]:
            if name in paths and paths[name] not in order:
                order.append(paths[name])
    return order


def decompressed(image):
    """The vmlinux inside a bzImage: its own decompressor takes 4 s longer under emulation."""
    start = (image[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset:start + offset + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload)
    raise Missing(f"a kernel packed in an unknown way ({payload[:4].hex()})")


class Archive:
    """An initramfs being written: cpio, format newc."""

    def __init__(self, path):
        self._out = open(path, "wb")
        self._known = set()
        self._inode = 0

    def _entry(self, name, mode, content):
        self._inode += 1
        fields = [self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self._out.write(head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4))

    def folder(self, path):
        path = str(path).strip("/")
        if path and path not in self._known:
            self.folder(os.path.dirname(path))
            self._known.add(path)
            self._entry(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path, content, mode=0o755):
        """False when it is there already."""
        path = str(path).strip("/")
        if path in self._known:
            return False
        self.folder(os.path.dirname(path))
        self._known.add(path)
        self._entry(path, stat.S_IFREG | mode, content)
        return True

    def close(self):
        self._entry("TRAILER!!!", 0, b"")
        self._out.close()


def libraries_of(program):
    """What the dynamic linker would load for it; none for a static program."""
    listed = subprocess.run(["ldd", program], check=False, text=True, capture_output=True).stdout
    for line in listed.splitlines():
        words = line.split()
        if "not found" in line:
            raise Missing(f"{program} needs {words[0]}")
        found = [word for word in words if word.startswith("/")]
        if found:
            yield found[0]


class Rig:
    def __init__(self, cache):
        self.kernel = cache / "vmlinux"
        self.modules = sorted(cache.glob("*.ko"))
        if not is_fetched(cache):
            raise Missing("no kernel for the guest: tools/test --rdma fetches it")
        for part in ["/bin/busybox", "/usr/bin/qemu-system-x86_64", *TOOLS, *LOADED]:
            if not pathlib.Path(part).exists():
                raise Missing(f"{part} is not installed: tools/test --rdma installs it")

    def image(self, path, files, script):
        """Writes an initramfs to `path`.

        files   guest path -> host path; a program brings the libraries that ldd names
        script  what the guest runs
        """
        archive = Archive(path)
        for folder in ["bin", "dev", "proc", "sys", "tmp", "run", "etc/rdma", "modules"]:
            archive.folder(folder)
        archive.file("/bin/busybox", pathlib.Path("/bin/busybox").read_bytes())
        archive.file("/init", (HERE / "guest/init").read_bytes())
        archive.file("/lib.sh", (HERE / "guest/lib").read_bytes())
        archive.file("/job", script.encode())
        archive.file("/etc/libibverbs.d/rxe.driver", b"driver rxe\n")
        for module in self.modules:
            archive.file(f"/modules/{module.name}", module.read_bytes())
        wanted = {str(own): own for own in [*TOOLS, *LOADED]} | files
        for inside, outside in wanted.items():
            outside = pathlib.Path(outside)
            if not archive.file(inside, outside.read_bytes(), outside.stat().st_mode & 0o777):
                continue
            if outside.read_bytes()[:4] == b"\x7fELF":
                for library in libraries_of(outside):
                    archive.file(library, pathlib.Path(library).read_bytes())
        archive.close()
        return path

    def command(self, image, arguments="", devices=(), memory_mb=GUEST_MEMORY_MB):
        return ["qemu-system-x86_64", *EMULATION, "-m", str(memory_mb), "-nodefaults",
                "-nographic", "-no-reboot", "-serial", "stdio",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", *devices,
                "-kernel", str(self.kernel), "-initrd", str(image),
                "-append", f"{KERNEL_ARGUMENTS} {arguments}"]

    def boot(self, image, patience_s):
        """One guest, RoCE on a dummy interface: 10.99.0.1. (status, log)"""
        guest = Guest(self.command(image))
        return guest.end(patience_s), guest.log()

    def boot_two(self, image, patience_s):
        """Two guests: 10.98.0.1, where $role is "server", and 10.98.0.2, "client". Ends with the
        client. (the client's status, its log, the server's log)"""
        with tempfile.TemporaryDirectory() as folder:
            cable = f"stream,id=cable,addr.type=unix,addr.path={folder}/cable"
            server = Guest(self.command(
                image, "role=server ip4=10.98.0.1",
                ["-netdev", cable + ",server=on", "-device",
                 "virtio-net-pci,netdev=cable,mac=52:54:00:00:00:01,romfile="]))
            while not os.path.exists(f"{folder}/cable") and server.running():
                server.wait(0.05)
            client = Guest(self.command(
                image, "role=client ip4=10.98.0.2",
                ["-netdev", cable + ",server=off", "-device",
                 "virtio-net-pci,netdev=cable,mac=52:54:00:00:00:02,romfile="]))
            status = client.end(patience_s)
            server.kill()
            return status, client.log(), server.log()


class Guest:
    def __init__(self, command):
        self._out = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._out,
                                         stderr=subprocess.STDOUT)

    def running(self):
        return self._process.poll() is None

    def wait(self, seconds):
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def kill(self):
        self._process.kill()
        self._process.wait()

    def end(self, patience_s):
        """The status of the guest's job; -1 when it hangs or never got that far."""
        self.wait(patience_s)
        if self.running():
            self.kill()
            return -1
        # isa-debug-exit ends QEMU with 2 * status + 1; power-off without it is no success.
        code = self._process.returncode
        return code // 2 if code > 0 and code % 2 == 1 else -1

    def log(self):
        self._out.seek(0)
        return self._out.read().decode(errors="replace").replace("\r", "")
