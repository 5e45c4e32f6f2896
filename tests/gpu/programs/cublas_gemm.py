"""cuBLAS and cuBLASLt by their C interfaces: products in single precision, and a handle's life."""
import ctypes

from _cuda import Runtime, check, library
from _figures import Figures

figures = Figures()
cuda = Runtime(figures)
cublas = library(figures, "cublas")
handle = ctypes.c_void_p()
check(cublas.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")

n = 64
a = cuda.array([float(i % 7) for i in range(n * n)])
b = cuda.array([float(i % 5) for i in range(n * n)])
c = cuda.array([0.0] * (n * n))
one, zero = ctypes.c_float(1), ctypes.c_float(0)
size = ctypes.c_int(n)


def gemm():
    check(cublas.cublasSgemm_v2(handle, 0, 0, size, size, size, ctypes.byref(one), a, size, b, size,
                                ctypes.byref(zero), c, size), "cublasSgemm")


gemm()
cuda.synchronize()
got = cuda.floats(c, n * n)
# Column by column: c[j*n+i] = sum over k of a[k*n+i] * b[j*n+k]; whole numbers, so exact.
wanted = [sum((k * n + i) % 7 * ((j * n + k) % 5) for k in range(n))
          for j in range(2) for i in range(n)]
print("product", got[:2 * n] == wanted)
result = ctypes.c_float()
check(cublas.cublasSasum_v2(handle, n, a, 1, ctypes.byref(result)), "cublasSasum")
print("sum", result.value)
figures.time("sgemm 64", "us", gemm, cuda.synchronize)
check(cublas.cublasDestroy_v2(handle), "cublasDestroy")

lt = library(figures, "cublasLt")
light = ctypes.c_void_p()
check(lt.cublasLtCreate(ctypes.byref(light)), "cublasLtCreate")
check(lt.cublasLtDestroy(light), "cublasLtDestroy")
print("cublasLt handle made and destroyed")
figures.write()
