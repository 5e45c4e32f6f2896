"""What the forensics test looks for: bytes that nobody else has, made of a seed at run time.

    canary = Canary()                      # tell a program canary.seed
    canary.count(bytes)                    # Counter: route -> how often its canary is there

A canary is 16 bytes: 8 that all routes share, found by one search, and 8 that say by which route of
canary_routes.cu they came. A hit is the first 8, however the rest has been torn off.
"""
import collections
import secrets
import struct

# In the order of canary_routes.cu.
ROUTES = ("pageable", "pinned", "global", "argument", "constant", "array", "managed", "mapped",
          "graph", "printed", "pool", "shared", "heap", "virtual", "pitched", "small")
OVERLAP = 64  # more than a needle and what is read behind it


class Canary:
    def __init__(self, seed=None):
        self.seed = secrets.randbits(64) if seed is None else seed
        self.head = struct.pack("<Q", self._drawn(0))
        self._tails = {struct.pack("<Q", self._drawn(1 + number)): name
                       for number, name in enumerate(ROUTES)}
        # As it lies in memory, and as text: printed by a kernel, or dumped by somebody.
        self.needles = (self.head, f"{self._drawn(0):016x}".encode(), self.head.hex().encode())

    def pattern(self, route="pageable"):
        return self.head + next(tail for tail, name in self._tails.items() if name == route)

    def count(self, data, end=None):
        """end: hits that begin there or later are not counted, for they are in the next piece."""
        end = len(data) if end is None else end
        found = collections.Counter()
        for needle in self.needles:
            at = data.find(needle)
            while 0 <= at < end:
                found[self._route(data, at, needle)] += 1
                at = data.find(needle, at + len(needle))
        return found

    def _route(self, data, at, needle):
        behind = bytes(data[at + len(needle):at + 2 * len(needle)])
        if needle is self.head:
            return self._tails.get(behind, "torn")
        for tail, name in self._tails.items():
            if behind in (tail.hex().encode(), tail[::-1].hex().encode()):
                return name
        return "torn"

    def _drawn(self, number):
        """splitmix64"""
        mask = (1 << 64) - 1
        z = (self.seed + (number + 1) * 0x9e3779b97f4a7c15) & mask
        z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & mask
        z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & mask
        return z ^ (z >> 31)
