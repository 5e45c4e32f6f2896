"""cuFFT: a transform there and back."""
import cmath
import ctypes

from _cuda import Runtime, check, library
from _figures import Figures

figures = Figures()
cuda = Runtime(figures)
cufft = library(figures, "cufft")
C2C, FORWARD, INVERSE = 0x29, -1, 1
n = 256
plan = ctypes.c_int()
check(cufft.cufftPlan1d(ctypes.byref(plan), n, C2C, 1), "cufftPlan1d")
signal = [float((i * 37) % 11) for i in range(n)]
data = cuda.array([part for value in signal for part in (value, 0.0)])


def forward():
    check(cufft.cufftExecC2C(plan, data, data, FORWARD), "cufftExecC2C")


forward()
got = cuda.floats(data, 2 * n)
wanted = sum(value * cmath.exp(-2j * cmath.pi * 3 * i / n) for i, value in enumerate(signal))
print("third frequency", abs(complex(got[6], got[7]) - wanted) < 1e-2)
check(cufft.cufftExecC2C(plan, data, data, INVERSE), "cufftExecC2C")
back = cuda.floats(data, 2 * n)
print("there and back", all(abs(back[2 * i] / n - signal[i]) < 1e-3 for i in range(n)))
figures.time("transform of 256", "us", forward, cuda.synchronize)
check(cufft.cufftDestroy(plan), "cufftDestroy")
figures.write()
