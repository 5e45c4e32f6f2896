#!/usr/bin/env python3
"""farcall as a person calls it: help, usage errors, and an authority made from nothing.

Usage: command_test.py FARCALL
"""
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

FARCALL = sys.argv[1]


def farcall(*words, code=0, folder=None):
    environment = {"PATH": os.environ["PATH"], "HOME": folder or "/nonexistent"}
    run = subprocess.run([FARCALL, *words], capture_output=True, text=True, check=False,
                         cwd=folder, env=environment, timeout=60)
    assert run.returncode == code, f"{words}: exit {run.returncode}, not {code}\n{run.stdout}{run.stderr}"
    return run.stdout + run.stderr


def main():
    assert "run" in farcall("--help") and "demo" in farcall("--help")
    for command in ("run", "gpus", "demo", "ca", "netperf", "explain", "audit"):
        assert "Example" in farcall(command, "--help"), command
    for command in ("tail", "search", "verify", "export", "anchor", "keygen"):
        assert "Example" in farcall("audit", command, "--help"), command
    assert "API table" in farcall("version")
    farcall(code=2)
    farcall("fly", code=2)
    farcall("demo", "--gpus", "0", code=2)
    farcall("demo", "--gpus", "17", code=2)
    assert "--server" in farcall("run", "--", "true", code=125)
    assert "known are all, spin" in farcall("run", "--off", "nonsense", "--", "true", code=2)
    assert "LEVEL" in farcall("run", "--log", "loud", "--", "true", code=2)
    assert "0.5ms" in farcall("explain", "none", "--rtt", "soon", code=2)

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        farcall("audit", "keygen", folder=folder)
        assert stat.S_IMODE((root / "audit.key").stat().st_mode) == 0o600
        farcall("audit", "keygen", code=125, folder=folder)  # never replaces a key
        farcall("audit", "export", "nowhere", code=2, folder=folder)
        assert "farcall-server --audit" in farcall("audit", "tail", "nowhere", code=125, folder=folder)
        assert "--key" in farcall("audit", "verify", "nowhere", code=125, folder=folder)
        farcall("ca", "init", "--pool", "lab", folder=folder)
        assert stat.S_IMODE((root / "ca/ca.key").stat().st_mode) == 0o600
        farcall("ca", "init", "--pool", "lab", code=125, folder=folder)  # never replaces a key
        farcall("ca", "issue", "--server", "gpu1.lab.example", "--out", "gpu1", folder=folder)
        farcall("ca", "issue", "--tenant", "vision", "--user", "ana", folder=folder)
        assert "say for whom" in farcall("ca", "issue", code=2, folder=folder)
        shown = farcall("ca", "show", "ana.crt", folder=folder)
        assert "spiffe://lab/tenant/vision/user/ana" in shown and "client" in shown, shown
        assert "server" in farcall("ca", "show", "gpu1.crt", folder=folder)
        for leaf in ("ana", "gpu1"):
            subprocess.run(["openssl", "verify", "-CAfile", "ca/ca.crt", "-untrusted", f"{leaf}.crt",
                            f"{leaf}.crt"], cwd=folder, check=True, capture_output=True)
        assert "cannot connect: 127.0.0.1:1" in farcall(
            "run", "--server", "127.0.0.1:1", "--cert", "ana.crt", "--key", "ana.key", "--ca",
            "ca/ca.crt", "--", "true", code=125, folder=folder)
    print("ok")


if __name__ == "__main__":
    main()
