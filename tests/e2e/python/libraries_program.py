"""cuBLAS and cuFFT by way of CuPy: sizes of every kind, so that each kind of kernel has a turn."""
import cupy as cp
import numpy as np

from cases import case, run

SIZES = (1, 2, 7, 16, 33, 64, 100)


def products(dtype, tolerance):
    random = np.random.default_rng(3)
    for size in SIZES:
        a, b = (random.random((size, size)).astype(dtype) for _ in range(2))
        np.testing.assert_allclose(cp.asnumpy(cp.asarray(a) @ cp.asarray(b)),
                                   a.astype(np.complex128) @ b.astype(np.complex128),
                                   rtol=tolerance, err_msg=f"{size}")


@case
def single_precision():
    products(np.float32, 1e-4)


@case
def double_precision():
    products(np.float64, 1e-10)


@case
def half_precision():
    products(np.float16, 2e-2)


@case
def complex_numbers():
    products(np.complex64, 1e-4)


@case
def batches():
    x = np.random.default_rng(4).random((5, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(cp.asnumpy(cp.asarray(x) @ cp.asarray(x)), x @ x, rtol=1e-5)


@case
def matrix_times_vector():
    a = np.random.default_rng(5).random((64, 48)).astype(np.float32)
    v = np.arange(48, dtype=np.float32)
    np.testing.assert_allclose(cp.asnumpy(cp.asarray(a) @ cp.asarray(v)), a @ v, rtol=1e-5)


@case
def transforms():
    random = np.random.default_rng(6)
    for size in (1, 2, 15, 64, 97, 1000, 1024):
        x = random.random(size) + 1j * random.random(size)
        d = cp.fft.fft(cp.asarray(x))
        np.testing.assert_allclose(cp.asnumpy(d), np.fft.fft(x), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(cp.asnumpy(cp.fft.ifft(d)), x, rtol=1e-9, atol=1e-9)


@case
def real_and_plane_transforms():
    x = np.random.default_rng(7).random((24, 40)).astype(np.float32)
    np.testing.assert_allclose(cp.asnumpy(cp.fft.rfft2(cp.asarray(x))), np.fft.rfft2(x),
                               rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(cp.asnumpy(cp.fft.irfft(cp.fft.rfft(cp.asarray(x)), n=40)), x,
                               rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    run()
