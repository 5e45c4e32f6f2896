"""cuBLAS and cuBLASLt by their C interfaces: products in single precision."""
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
COMPUTE_32F, REAL_32F = 68, 0  # cublas_api.h, library_types.h
description, layout = ctypes.c_void_p(), ctypes.c_void_p()
check(lt.cublasLtMatmulDescCreate(ctypes.byref(description), COMPUTE_32F, REAL_32F),
      "cublasLtMatmulDescCreate")
check(lt.cublasLtMatrixLayoutCreate(ctypes.byref(layout), REAL_32F, ctypes.c_uint64(n),
                                    ctypes.c_uint64(n), ctypes.c_int64(n)),
      "cublasLtMatrixLayoutCreate")
d = cuda.array([0.0] * (n * n))


def matmul():
    check(lt.cublasLtMatmul(light, description, ctypes.byref(one), a, layout, b, layout,
                            ctypes.byref(zero), c, layout, d, layout, None, None,
                            ctypes.c_size_t(0), None), "cublasLtMatmul")


matmul()
cuda.synchronize()
print("cublasLt product", cuda.floats(d, n * n)[:2 * n] == wanted)
figures.time("cublasLt matmul 64", "us", matmul, cuda.synchronize)
check(lt.cublasLtMatrixLayoutDestroy(layout), "cublasLtMatrixLayoutDestroy")
check(lt.cublasLtMatmulDescDestroy(description), "cublasLtMatmulDescDestroy")
check(lt.cublasLtDestroy(light), "cublasLtDestroy")
figures.write()
