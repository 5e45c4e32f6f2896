"""Numba: a kernel written in Python, shared memory, atomics, streams."""
from _figures import Figures

figures = Figures()
figures.need("numba")
cuda = figures.need("numba.cuda")
numpy = figures.need("numpy")


@cuda.jit
def scale(x, by):
    at = cuda.grid(1)
    if at < x.size:
        x[at] *= by


@cuda.jit
def total(x, out):
    at = cuda.grid(1)
    if at < x.size:
        cuda.atomic.add(out, 0, x[at])


host = numpy.arange(10000, dtype=numpy.float32)
stream = cuda.stream()
x = cuda.to_device(host, stream=stream)
out = cuda.to_device(numpy.zeros(1, dtype=numpy.int64))
scale[79, 128, stream](x, 2)
stream.synchronize()
print("scaled", bool((x.copy_to_host() == host * 2).all()))
total[79, 128](cuda.to_device(numpy.arange(10000, dtype=numpy.int64)), out)
print("total", int(out.copy_to_host()[0]))
figures.time("launch and wait", "us", lambda: scale[79, 128, stream](x, 1), stream.synchronize)
figures.write()
