"""CuPy: elementwise kernels (NVRTC), reductions, cuBLAS, cuFFT, a raw kernel."""
from _figures import Figures

figures = Figures()
cupy = figures.need("cupy")
numpy = figures.need("numpy")

random = numpy.random.default_rng(7)
host = random.standard_normal((1000, 1000))
x = cupy.asarray(host)
print("sum", figures.rounded(abs(float(x.sum()) - host.sum()) < 1e-6))
print("matmul", bool(numpy.allclose(cupy.asnumpy(x @ x), host @ host)))
print("fft", bool(numpy.allclose(cupy.asnumpy(cupy.fft.fft(x[0])), numpy.fft.fft(host[0]))))
print("sort", bool((cupy.asnumpy(cupy.sort(x[0])) == numpy.sort(host[0])).all()))
double = cupy.RawKernel(
    'extern "C" __global__ void twice(double* v, int n) {'
    "  int i = blockDim.x * blockIdx.x + threadIdx.x; if (i < n) v[i] *= 2; }", "twice")
y = x[0].copy()
double((8,), (128,), (y, 1000))
print("raw kernel", bool(numpy.array_equal(cupy.asnumpy(y), host[0] * 2)))
synchronize = cupy.cuda.Device().synchronize
figures.time("elementwise, fused by hand", "us", lambda: cupy.add(x, x, out=x), synchronize)
figures.time("matmul 1000 fp64", "us", lambda: x @ x, synchronize)
figures.write()
