"""Where everything that a test's processes write can be looked at: an overlay over the whole disk.

    disk = Disk.open()            # once, before anything is started; for the rest of this process
    disk.scan(canary)             # the files that were written, and the raw image they lie on

As root every folder of / is covered by an overlay in a mount namespace of its own; what is written
lands on an ext4 image, whose blocks are looked at too: there a deleted file still lies. Where that
is not permitted, only the folders that the servers are told to use are looked at, and says so.
"""
import atexit
import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile

from scan import Found, scan_file, scan_tree

NEW_MOUNTS, PRIVATE = 0x00020000, 1 << 18 | 1 << 14
IMAGE_BYTES = 1 << 30  # sparse
BASE = pathlib.Path("/mnt")  # covered by memory first
NOT_COVERED = {"proc", "sys", "dev", "mnt", "lost+found"}
LIBC = ctypes.CDLL(None, use_errno=True)


class Disk:
    def __init__(self):
        self.is_whole, self.why = False, ""
        self.own = None  # a folder for servers where only that is watched

    @classmethod
    def open(cls):
        disk = cls()
        try:
            disk._cover()
            disk.is_whole = True
        except (OSError, subprocess.CalledProcessError) as why:
            disk.why = f"no overlay here ({why}): only the servers' own folders are looked at"
        disk.own = pathlib.Path(tempfile.mkdtemp(prefix="farcall-forensics-"))
        if not disk.is_whole:
            atexit.register(shutil.rmtree, disk.own, ignore_errors=True)
        return disk

    def _cover(self):
        if os.geteuid() != 0:
            raise PermissionError("not root")
        if LIBC.unshare(NEW_MOUNTS) != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace")
        LIBC.mount(b"none", b"/", None, PRIVATE, None)
        # From here on nothing of this leaves the namespace, and all of it ends with the process.
        call("mount", "-t", "tmpfs", "tmpfs", BASE)
        image, disk = BASE / "image", BASE / "disk"
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        call("mkfs.ext4", "-q", "-F", "-O", "^has_journal", image)
        call("mount", "-o", "loop", image, disk)
        self._image = image
        self._upper = disk / "upper"
        for folder in pathlib.Path("/").iterdir():
            if not folder.is_dir() or folder.is_symlink() or folder.name in NOT_COVERED:
                continue
            upper, work = self._upper / folder.name, disk / "work" / folder.name
            upper.mkdir(parents=True)
            work.mkdir(parents=True)
            call("mount", "-t", "overlay", "overlay", "-o",
                 f"lowerdir={folder},upperdir={upper},workdir={work}", folder)
        call("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")

    def environment(self):
        """What a server writes by itself lies here."""
        return {"HOME": str(self.own), "TMPDIR": str(self.own), "XDG_CACHE_HOME": str(self.own)}

    def written(self):
        """How many files were written since the start, or lie in the servers' own folders."""
        return sum(len(files) for _, _, files in os.walk(self._top()))

    def _top(self):
        return self._upper if self.is_whole else self.own

    def scan(self, canary):
        os.sync()
        return scan_tree(self._top(), canary)

    def scan_raw(self, canary):
        """Blocks that no file has any more count, too. None where there is no image."""
        if not self.is_whole:
            return None
        os.sync()
        found = Found()
        scan_file(self._image, canary, found, "raw image")
        return found


def scan_shared(canary, pids=()):
    """What lies in /dev/shm; segments of System V that these processes made count as unreadable."""
    found = scan_tree("/dev/shm", canary)
    for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        _, _, _, size, creator, *_ = line.split()
        if int(creator) in pids:
            found.unreadable += int(size)
    return found


def scan_swap(pids):
    """Swap that these processes use cannot be read: all of it is unreadable."""
    found = Found()
    for pid in pids:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found.unreadable += sum(int(line.split()[1]) << 10 for line in status.splitlines()
                                if line.startswith("VmSwap:"))
    return found


def call(*words):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)
