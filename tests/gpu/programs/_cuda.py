"""CUDA's own libraries by ctypes: the runtime, and cuBLAS, cuFFT, cuRAND, NVRTC where they lie.

    cuda = Runtime(figures)                       # skips the program where there is no runtime
    x = cuda.array([1.0, 2.0])                    # on the device, as float32
    cublas = library(figures, "cublas")
    cuda.floats(x, 2)

Looked for where the loader looks, in CUDA_HOME, /usr/local/cuda and the nvidia-* packages of pip.
"""
import ctypes
import glob
import os
import sys

FOLDERS = [os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/lib64", "/usr/local/cuda/lib64",
           "/usr/lib/x86_64-linux-gnu"]
FOLDERS += [folder for path in sys.path
            for folder in glob.glob(os.path.join(path, "nvidia", "*", "lib"))]
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2


def library(figures, name):
    """lib<name>.so of any major version, newest first; without one the program is skipped."""
    found = sorted((file for folder in FOLDERS for file in glob.glob(f"{folder}/lib{name}.so.*")
                    if file.rsplit(".so.", 1)[1].isdigit()),
                   key=lambda file: -int(file.rsplit(".so.", 1)[1]))
    for file in found:
        try:
            return ctypes.CDLL(file, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    figures.skip(f"no lib{name} here")


def check(code, what):
    if code != 0:
        print(f"{what}: error {code}")
        sys.exit(1)


class Runtime:
    def __init__(self, figures):
        self.lib = library(figures, "cudart")
        count = ctypes.c_int()
        check(self.lib.cudaGetDeviceCount(ctypes.byref(count)), "cudaGetDeviceCount")

    def call(self, name, *arguments):
        check(getattr(self.lib, name)(*arguments), name)

    def room(self, size):
        pointer = ctypes.c_void_p()
        self.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def array(self, values):
        host = (ctypes.c_float * len(values))(*values)
        there = self.room(ctypes.sizeof(host))
        self.call("cudaMemcpy", there, host, ctypes.c_size_t(ctypes.sizeof(host)), HOST_TO_DEVICE)
        return there

    def floats(self, there, count):
        host = (ctypes.c_float * count)()
        self.call("cudaMemcpy", host, there, ctypes.c_size_t(ctypes.sizeof(host)), DEVICE_TO_HOST)
        return list(host)

    def synchronize(self):
        self.call("cudaDeviceSynchronize")
