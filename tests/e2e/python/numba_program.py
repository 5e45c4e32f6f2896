"""What Numba is asked to do on a device; run by python_tests.py."""
import math

import numpy as np
from numba import cuda, float32, int32
from numba.cuda.random import create_xoroshiro128p_states, xoroshiro128p_uniform_float32

from cases import case, run


@cuda.jit
def add(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]


@cuda.jit
def blockwise_sum(values, totals):
    shared = cuda.shared.array(128, float32)
    i = cuda.threadIdx.x
    at = cuda.grid(1)
    shared[i] = values[at] if at < values.size else 0
    cuda.syncthreads()
    half = 64
    while half > 0:
        if i < half:
            shared[i] += shared[i + half]
        cuda.syncthreads()
        half //= 2
    if i == 0:
        totals[cuda.blockIdx.x] = shared[0]


@cuda.jit
def histogram(values, bins):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(bins, values[i] % bins.size, 1)


@cuda.jit
def sines(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = math.sin(x[i]) + math.sqrt(x[i])


@cuda.jit
def matmul(a, b, c):
    row, column = cuda.grid(2)
    if row < c.shape[0] and column < c.shape[1]:
        total = 0.0
        for k in range(a.shape[1]):
            total += a[row, k] * b[k, column]
        c[row, column] = total


@cuda.jit
def uniform(states, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = xoroshiro128p_uniform_float32(states, i)


@cuda.jit
def warp_sum(values, out):
    value = values[cuda.threadIdx.x]
    step = int32(16)
    while step > 0:
        value += cuda.shfl_down_sync(0xffffffff, value, step)
        step //= 2
    if cuda.threadIdx.x == 0:
        out[0] = value


@case
def discovery():
    device = cuda.get_current_device()
    assert device.name == "Farcall Software GPU", device.name
    assert device.compute_capability >= (12, 0)
    assert len(cuda.gpus.lst) >= 1


@case
def kernels_on_host_arrays():
    a = np.arange(1000, dtype=np.float32)
    c = np.zeros_like(a)
    add[8, 128](a, 2 * a, c)
    np.testing.assert_array_equal(c, 3 * a)


@case
def device_arrays():
    a = cuda.to_device(np.arange(1000, dtype=np.float64))
    c = cuda.device_array_like(a)
    add[8, 128](a, a, c)
    np.testing.assert_array_equal(c.copy_to_host(), 2.0 * np.arange(1000))
    np.testing.assert_array_equal(c[100:200].copy_to_host(), 2.0 * np.arange(100, 200))


@case
def shared_memory():
    values = np.arange(1000, dtype=np.float32)
    totals = np.zeros(8, dtype=np.float32)
    blockwise_sum[8, 128](values, totals)
    assert totals.sum() == values.sum()


@case
def atomics():
    bins = np.zeros(10, dtype=np.int32)
    histogram[8, 128](np.arange(1000, dtype=np.int32), bins)
    np.testing.assert_array_equal(bins, np.full(10, 100))


@case
def mathematics():
    x = np.linspace(0, 10, 500)
    y = np.zeros_like(x)
    sines[4, 128](x, y)
    np.testing.assert_allclose(y, np.sin(x) + np.sqrt(x), rtol=1e-12)


@case
def two_dimensions():
    a = np.random.default_rng(1).random((20, 30))
    b = np.random.default_rng(2).random((30, 10))
    c = np.zeros((20, 10))
    matmul[(3, 2), (8, 8)](a, b, c)
    np.testing.assert_allclose(c, a @ b)


@case
def shuffles():
    out = np.zeros(1, dtype=np.int32)
    warp_sum[1, 32](np.arange(32, dtype=np.int32), out)
    assert out[0] == 496


@case
def streams_and_events():
    stream = cuda.stream()
    first, second = cuda.event(), cuda.event()
    a = cuda.to_device(np.ones(256, dtype=np.float32), stream=stream)
    c = cuda.device_array_like(a, stream=stream)
    first.record(stream)
    add[2, 128, stream](a, a, c)
    second.record(stream)
    second.synchronize()
    assert first.elapsed_time(second) >= 0
    np.testing.assert_array_equal(c.copy_to_host(stream=stream), np.full(256, 2))


@case
def pinned_memory():
    host = cuda.pinned_array(256, dtype=np.float32)
    host[:] = 3
    assert cuda.to_device(host).copy_to_host().sum() == 768


@case
def reductions():
    total = cuda.reduce(lambda a, b: a + b)
    assert total(np.arange(1000, dtype=np.float64)) == 499500


@case
def random_numbers():
    states = create_xoroshiro128p_states(256, seed=1)
    out = np.zeros(256, dtype=np.float32)
    uniform[2, 128](states, out)
    assert 0.4 < out.mean() < 0.6
    assert 0 <= out.min() and out.max() <= 1


@case
def errors():
    try:
        add[1, 4096](np.ones(1), np.ones(1), np.ones(1))
    except Exception as error:  # numba's own class differs from version to version
        # CUDA_ERROR_INVALID_VALUE; for a CUkernel, by which newer versions launch, 9, which is what
        # the runtime tells its programs (client_shim/README.md, "Decisions").
        assert "INVALID" in str(error) or "CODE: 9" in str(error), error
    else:
        raise AssertionError("a block of 4096 threads was accepted")


if __name__ == "__main__":
    run()
