"""A virtual environment with what a requirements file pins, outside the repository.

    python = interpreter("requirements.txt")     # makes it the first time; skips the test offline

It lies in $FARCALL_PYTHON_ENVIRONMENTS, or ~/.cache/farcall/python, in a folder named by the file's
content and this Python's version, so a changed file makes a new one and nothing is ever upgraded.
"""
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from pool import Failure, skip  # noqa: E402  (one folder up)

HERE = pathlib.Path(__file__).resolve().parent
COMPLETE = "complete"  # a file in an environment that was made to its end
# What pip says when it cannot reach the index; anything else is a failure.
OFFLINE = ("No matching distribution", "NewConnectionError", "Temporary failure in name resolution",
           "ConnectTimeoutError", "ReadTimeoutError")


def base():
    chosen = os.environ.get("FARCALL_PYTHON_ENVIRONMENTS")
    return pathlib.Path(chosen) if chosen else pathlib.Path.home() / ".cache" / "farcall" / "python"


def folder_of(requirements):
    text = (HERE / requirements).read_bytes() + sys.version.encode()
    name = pathlib.Path(requirements).stem.replace("requirements", "environment")
    return base() / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"


def hide_nvjitlink(folder):
    """Puts an empty libnvJitLink.so.13 where cuda-pathfinder looks first.

    nvJitLink makes machine code, which a software GPU cannot run. Without it cuda-core, and so
    Numba, leaves linking to the driver, which gets the PTX.
    """
    (site,) = (folder / "lib").glob("python*/site-packages")
    library = site / "nvidia" / "cu13" / "lib" / "libnvJitLink.so.13"
    library.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["cc", "-shared", "-o", library, "-xc", "/dev/null"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Failure(f"cc cannot make {library}: {made.stderr}")


def make(folder, requirements):
    shutil.rmtree(folder, ignore_errors=True)
    steps = ([sys.executable, "-m", "venv", folder],
             [folder / "bin" / "pip", "install", "--quiet", "--only-binary", ":all:",
              "--disable-pip-version-check", "--retries", "1", "--requirement", HERE / requirements])
    for step in steps:
        done = subprocess.run([str(word) for word in step], capture_output=True, text=True)
        if done.returncode != 0:
            if any(words in done.stderr for words in OFFLINE):
                skip(f"PyPI does not give what {requirements} pins: {done.stderr.splitlines()[-1]}")
            raise Failure(f"{step[0]}: {done.stdout}{done.stderr}")
    if requirements == "requirements.txt":
        hide_nvjitlink(folder)
    (folder / COMPLETE).touch()


def interpreter(requirements):
    """The environment's python. Several tests may ask at once: one makes it, the others wait."""
    folder = folder_of(requirements)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            make(folder, requirements)
    return folder / "bin" / "python"


def is_made(requirements):
    return (folder_of(requirements) / COMPLETE).exists()


if __name__ == "__main__":
    print(interpreter(sys.argv[1]))
