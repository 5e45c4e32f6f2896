#!/usr/bin/env python3
"""What records are sealed with at least: by server, lease and client, the strictest of them.

Usage: traffic.py BUILD CASE      CASE is one of the functions below
"""
import json

from leases import LeasedPool
from pool import clean_environment, expect, main, run

WEAK = "".join(f'[{name}]\ncipher = "aes-128-gcm"\n'
               for name in ("control", "parameters", "activations", "bulk"))


class TrafficPool(LeasedPool):
    """A server whose file allows the weaker cipher for everything."""

    def start_server(self):
        file = self.folder / "traffic.toml"
        file.write_text(WEAK)
        self.more_words = ["--traffic", file]
        super().start_server()

    def link(self, lease, **environment):
        """How a program's link describes itself."""
        stats = self.folder / "stats.json"
        certificate, key = self.client
        done = run([self.farcall, "run", "--server", self.url(), "--cert", certificate, "--key", key,
                    "--ca", self.authority.ca, "--lease", lease, "--", self.program("vector_add")],
                   {**clean_environment(), "FARCALL_STATS": str(stats), **environment})
        expect(done.returncode == 0, str(done))
        return json.loads(stats.read_text())["link"]


def floors(build):
    with TrafficPool(build) as pool:
        loose = pool.issue("loose", "--cipher", "aes-128-gcm")
        wants = {"FARCALL_CIPHER_FLOOR": "aes-128-gcm"}
        expect("AES-128-GCM or more" in pool.link(loose, **wants), "all allow it, and it is not used")
        # Each of the others has its say.
        for name, words in (("strict", ()), ("secret", ("--cipher", "aes-128-gcm", "--data",
                                                        "confidential"))):
            link = pool.link(pool.issue(name, *words), **wants)
            expect(", AES-256-GCM" in link, f"{name}: {link}")
        link = pool.link(loose)
        expect(", AES-256-GCM" in link, f"a client that asks for nothing less: {link}")
        wrong = pool.folder / "wrong.toml"
        wrong.write_text('[bulk]\ncipher = "none"\n')
        done = run([pool.build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", "--cert",
                    pool.certificate, "--key", pool.key, "--ca", pool.authority.ca, "--driver",
                    pool.driver, "--traffic", wrong, "--audit", "off"], clean_environment())
        expect(done.returncode == 2 and "line 2: cipher is" in done.stderr, done.stderr)


if __name__ == "__main__":
    main({case.__name__: case for case in (floors,)})
