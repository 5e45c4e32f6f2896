"""NVRTC: a kernel compiled at run time, loaded by the driver API, launched alone and as a graph."""
import ctypes

from _cuda import Runtime, check, library
from _figures import Figures

SOURCE = b"""
extern "C" __global__ void scale(float* x, float by, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= by;
}
"""

figures = Figures()
cuda = Runtime(figures)
nvrtc = library(figures, "nvrtc")
driver = ctypes.CDLL("libcuda.so.1")
program = ctypes.c_void_p()
check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), SOURCE, b"scale.cu", 0, None, None), "create")
check(nvrtc.nvrtcCompileProgram(program, 0, None), "nvrtcCompileProgram")
size = ctypes.c_size_t()
check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)), "nvrtcGetPTXSize")
ptx = ctypes.create_string_buffer(size.value)
check(nvrtc.nvrtcGetPTX(program, ptx), "nvrtcGetPTX")

n = 1000
x = cuda.array([float(i) for i in range(n)])  # makes the context too
module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
check(driver.cuModuleLoadData(ctypes.byref(module), ptx), "cuModuleLoadData")
check(driver.cuModuleGetFunction(ctypes.byref(kernel), module, b"scale"), "cuModuleGetFunction")
by, count = ctypes.c_float(2), ctypes.c_int(n)
parameters = (ctypes.c_void_p * 3)(*(ctypes.cast(ctypes.pointer(value), ctypes.c_void_p)
                                     for value in (x, by, count)))
stream = ctypes.c_void_p()
check(driver.cuStreamCreate(ctypes.byref(stream), 1), "cuStreamCreate")


def launch():
    check(driver.cuLaunchKernel(kernel, (n + 127) // 128, 1, 1, 128, 1, 1, 0, stream, parameters,
                                None), "cuLaunchKernel")


def wait():
    check(driver.cuStreamSynchronize(stream), "cuStreamSynchronize")


launch()
wait()
print("scaled", cuda.floats(x, n) == [2.0 * i for i in range(n)])

graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
check(driver.cuStreamBeginCapture_v2(stream, 2), "cuStreamBeginCapture")
launch()
check(driver.cuStreamEndCapture(stream, ctypes.byref(graph)), "cuStreamEndCapture")
check(driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)),
      "cuGraphInstantiate")
check(driver.cuGraphLaunch(executable, stream), "cuGraphLaunch")
wait()
print("by a graph", cuda.floats(x, n) == [4.0 * i for i in range(n)])
by.value = 1.0  # whatever the timed launches do, the numbers stay
figures.time("launch and wait", "us", launch, wait)
figures.write()
