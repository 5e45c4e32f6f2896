"""cuRAND: a seeded generator gives the same numbers on the GPU and through Farcall."""
import ctypes

from _cuda import Runtime, check, library
from _figures import Figures

figures = Figures()
cuda = Runtime(figures)
curand = library(figures, "curand")
PHILOX = 161
generator = ctypes.c_void_p()
check(curand.curandCreateGenerator(ctypes.byref(generator), PHILOX), "curandCreateGenerator")
check(curand.curandSetPseudoRandomGeneratorSeed(generator, ctypes.c_ulonglong(7)), "seed")
count = 1 << 16
there = cuda.room(4 * count)


def generate():
    check(curand.curandGenerateUniform(generator, there, ctypes.c_size_t(count)), "generate")


generate()
cuda.synchronize()
numbers = cuda.floats(there, count)
print("first", [figures.rounded(value) for value in numbers[:4]])
print("within", all(0 < value <= 1 for value in numbers))
print("mean", figures.rounded(sum(numbers) / count))
figures.time("65536 numbers", "us", generate, cuda.synchronize)
check(curand.curandDestroyGenerator(generator), "curandDestroyGenerator")
figures.write()
