"""Looks for canaries in the memory of processes, in files, and in what they share.

    found = scan_process(pid, canary)       # a Found: hits by route and by kind of memory
    found.hits, found.unreadable, found.looked_at

What cannot be read is counted as unreadable, never as clean: a scanner that sees nothing has found
nothing out.
"""
import array
import collections
import errno
import os
import pathlib
import re

from canary import OVERLAP

PAGE = os.sysconf("SC_PAGESIZE")
PIECE = 8 << 20
# The kernel's own pages in every process: no process can write there.
KERNELS_OWN = ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]")
PRESENT_OR_SWAPPED = 3 << 62  # bits of /proc/PID/pagemap


class Found:
    """What was found at one place."""

    def __init__(self):
        self.hits = collections.Counter()   # by route
        self.where = collections.Counter()  # by kind of memory, or by file
        self.unreadable = 0                 # bytes
        self.looked_at = 0                  # bytes

    def add(self, where, hits, bytes_read):
        self.looked_at += bytes_read
        if hits:
            self.hits += hits
            self.where[where] += sum(hits.values())

    def merge(self, other):
        self.hits += other.hits
        self.where += other.where
        self.unreadable += other.unreadable
        self.looked_at += other.looked_at
        return self

    @property
    def total(self):
        return sum(self.hits.values())


def scan_bytes(data, canary, where="bytes"):
    found = Found()
    found.add(where, canary.count(data), len(data))
    return found


def scan_range(read, first, end, canary, where, found):
    """Pieces of [first, end), each with the beginning of the next, so that no canary is cut."""
    while first < end:
        size = min(PIECE, end - first)
        try:
            data = read(first, min(size + OVERLAP, end - first))
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EFAULT, errno.EPERM, errno.EACCES):
                raise
            data = b""
        if not data and size > PAGE:  # page by page, so that one bad page hides no other
            for page in range(first, first + size, PAGE):
                scan_range(read, page, min(page + PAGE, end), canary, where, found)
        elif not data:
            found.unreadable += size
        else:
            found.add(where, canary.count(data, size), min(size, len(data)))
        first += size


def scan_file(path, canary, found, where=None):
    """A file's content, holes left out."""
    try:
        with open(path, "rb", buffering=0) as file:
            scan_open_file(file.fileno(), canary, found, where or str(path))
    except FileNotFoundError:
        pass
    except OSError:
        found.unreadable += path_bytes(path)


def path_bytes(path):
    try:
        return max(os.stat(path).st_size, 1)
    except OSError:
        return 1


def scan_open_file(fd, canary, found, where):
    end, at = os.fstat(fd).st_size, 0
    while at < end:
        try:
            data_from = os.lseek(fd, at, os.SEEK_DATA)
            data_to = os.lseek(fd, data_from, os.SEEK_HOLE)
        except OSError:
            break  # only a hole is left
        scan_range(lambda first, size: os.pread(fd, size, first), data_from, data_to, canary, where,
                   found)
        at = data_to


def scan_tree(folder, canary):
    found = Found()
    for path in pathlib.Path(folder).rglob("*"):
        found.add("file name", canary.count(os.fsencode(path.name)), 0)
        if path.is_file() and not path.is_symlink():
            scan_file(path, canary, found)
    return found


class Mapping:
    def __init__(self, line):
        addresses, self.rights, _, _, self.inode, *name = line.split(maxsplit=5)
        self.first, self.end = (int(word, 16) for word in addresses.split("-"))
        self.name = name[0].strip() if name else ""
        self.resident = 0  # bytes, swapped ones too

    def kind(self):
        if self.name.startswith("[stack"):
            return "stack"
        if self.name == "[heap]":
            return "heap"
        if self.name.startswith("/"):
            return re.sub(r"[0-9]+", "N", os.path.basename(self.name))
        return self.name or "anonymous"


def mappings(pid):
    """Those that hold anything."""
    every = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                every.append(Mapping(line))
            elif line.startswith(("Rss:", "Swap:")):
                every[-1].resident += int(line.split()[1]) << 10
    return [one for one in every if one.name not in KERNELS_OWN]


def present_runs(pagemap, mapping):
    """Addresses of the pages that are there: reading others would fill a large reservation."""
    run = None
    for first in range(mapping.first, mapping.end, 4096 * PAGE):
        count = min(4096, (mapping.end - first) // PAGE)
        entries = array.array("Q")
        entries.frombytes(os.pread(pagemap, 8 * count, first // PAGE * 8))
        for number, entry in enumerate(entries):
            page = first + number * PAGE
            if entry & PRESENT_OR_SWAPPED:
                run = run or page
            elif run is not None:
                yield run, page
                run = None
    if run is not None:
        yield run, mapping.end


def scan_process(pid, canary):
    """All memory of a process, and the files without a name that it holds open."""
    found = Found()
    try:
        every = mappings(pid)
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    except (PermissionError, ProcessLookupError, FileNotFoundError):
        found.unreadable += resident_bytes(pid)
        return found
    try:
        for mapping in every:
            if "secretmem" in mapping.name:
                found.unreadable += mapping.end - mapping.first
            elif mapping.resident:
                for first, end in present_runs(pagemap, mapping):
                    scan_range(lambda at, size: os.pread(memory, size, at), first, end, canary,
                               mapping.kind(), found)
    finally:
        os.close(memory)
        os.close(pagemap)
    return found.merge(scan_nameless_files(pid, canary))


def resident_bytes(pid):
    """How much cannot be looked at; 0 for a process that has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    sizes = re.findall(r"^Vm(?:RSS|Swap):\s+(\d+) kB", status, re.MULTILINE)
    return sum(int(size) << 10 for size in sizes)


def scan_nameless_files(pid, canary):
    """memfds and deleted files: shared memory that no folder lists."""
    found = Found()
    try:
        links = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return found
    for link in links:
        try:
            name = os.readlink(link)
        except OSError:
            continue
        if name.startswith("/memfd:") or (name.startswith("/") and name.endswith(" (deleted)")):
            scan_file(link, canary, found, re.sub(r" \(deleted\)$", "", name))
    return found


def family(pid):
    """A process and all that descend from it."""
    every, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        every.append(one)
        try:
            tasks = list(pathlib.Path(f"/proc/{one}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                waiting += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass  # a thread that has just ended has none
    return every
