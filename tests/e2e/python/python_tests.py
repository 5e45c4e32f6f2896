#!/usr/bin/env python3
"""Python software as a client of software GPUs.

Usage: python_tests.py BUILD CASE      CASE is one of the functions below
"""
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from pool import Pool, expect, main, run, skip  # noqa: E402  (one folder up)
from environment import interpreter, is_made  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
# Wheels carry machine code for the GPUs of their day and PTX for those to come. A device of the
# first capability gets the PTX of a compiler; one of the second is newer than every wheel, so that
# libraries like cuBLAS choose the PTX they carry, too.
CURRENT, NEWER_THAN_ALL = "12.0", "13.0"


def toolkit():
    """Where Numba and CuPy find NVRTC, NVVM and headers."""
    nvcc = shutil.which("nvcc")
    for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda",
                 nvcc and pathlib.Path(nvcc).resolve().parent.parent):
        if home and (pathlib.Path(home) / "include" / "cuda.h").is_file():
            return str(home)
    skip("no CUDA toolkit: Numba and CuPy compile with its libraries")


def preload(build):
    return f"{build}/lib/libcuda.so.1:{build}/lib/libnvidia-ml.so.1"


def run_program(build, requirements, program, capability, **more):
    python = interpreter(requirements)
    folder = tempfile.mkdtemp(prefix="farcall-python-")  # for what they would keep for next time
    try:
        with Pool(build, server_environment={"FARCALL_SOFTGPU_CC": capability}) as pool:
            environment = pool.environment(
                LD_PRELOAD=preload(build), CUPY_CACHE_DIR=folder, NUMBA_CACHE_DIR=folder,
                PYTHONDONTWRITEBYTECODE="1", PYTHONWARNINGS="ignore", **more)
            done = run([python, HERE / program], environment)
            print(done.stdout)
            expect(done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def numba(build):
    run_program(build, "requirements.txt", "numba_program.py", CURRENT, CUDA_PATH=toolkit(),
                CUDA_HOME=toolkit(), NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS="0")


def cupy(build):
    run_program(build, "requirements.txt", "cupy_program.py", CURRENT, CUDA_PATH=toolkit(),
                CUPY_COMPILE_WITH_PTX="1")


def libraries(build):
    run_program(build, "requirements.txt", "libraries_program.py", NEWER_THAN_ALL,
                CUDA_PATH=toolkit(), CUPY_COMPILE_WITH_PTX="1")


def pytorch(build):
    """Gigabytes, so only where somebody asked for them: tools/test --pytorch."""
    if not is_made("requirements_pytorch.txt"):
        skip("PyTorch is not installed; tools/test --pytorch does that")
    run_program(build, "requirements_pytorch.txt", "pytorch_program.py", NEWER_THAN_ALL)


if __name__ == "__main__":
    main({function.__name__: function for function in (numba, cupy, libraries, pytorch)})
