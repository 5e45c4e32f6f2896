"""What CuPy is asked to do on a device; run by python_tests.py."""
import cupy as cp
import numpy as np

from cases import case, run


def same(device_array, expected, **more):
    np.testing.assert_allclose(cp.asnumpy(device_array), expected, **more)


@case
def discovery():
    assert cp.cuda.runtime.getDeviceCount() >= 1
    properties = cp.cuda.runtime.getDeviceProperties(0)
    assert properties["name"] == b"Farcall Software GPU", properties["name"]
    free, total = cp.cuda.Device(0).mem_info
    assert 0 < free <= total


@case
def copies():
    host = np.arange(100_000, dtype=np.float64).reshape(100, 1000)
    device = cp.asarray(host)
    same(device, host)
    same(device[3:7, ::2], host[3:7, ::2])
    same(device.T.copy(), host.T)


@case
def elementwise():
    x = np.linspace(-3, 3, 1001)
    for dtype in (np.float16, np.float32, np.float64):
        d = cp.asarray(x, dtype=dtype)
        same(d * 2 + 1, x.astype(dtype) * dtype(2) + dtype(1), rtol=1e-2)
        same(cp.exp(d), np.exp(x), rtol=1e-2 if dtype is np.float16 else 1e-5)
    integers = cp.arange(-50, 50)
    same(integers // 7, np.arange(-50, 50) // 7)
    same(cp.where(integers > 3, integers, -integers), np.where(np.arange(-50, 50) > 3,
                                                               np.arange(-50, 50),
                                                               -np.arange(-50, 50)))


@case
def user_kernels():
    squared_difference = cp.ElementwiseKernel(
        "float32 x, float32 y", "float32 z", "z = (x - y) * (x - y)", "squared_difference")
    length = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "length")
    x = np.arange(10, dtype=np.float32)
    same(squared_difference(cp.asarray(x), cp.float32(3)), (x - 3) ** 2)
    same(length(cp.asarray(x)), np.sqrt((x * x).sum()), rtol=1e-6)


@case
def raw_kernel():
    kernel = cp.RawKernel(r"""
      extern "C" __global__ void reverse(const int* in, int* out) {
        __shared__ int block[128];
        block[threadIdx.x] = in[blockIdx.x * 128 + threadIdx.x];
        __syncthreads();
        out[blockIdx.x * 128 + threadIdx.x] = block[127 - threadIdx.x];
      }""", "reverse")
    given = cp.arange(512, dtype=cp.int32)
    back = cp.empty_like(given)
    kernel((4,), (128,), (given, back))
    same(back, np.arange(512).reshape(4, 128)[:, ::-1].ravel())


@case
def reductions():
    x = np.random.default_rng(1).random((37, 65))
    d = cp.asarray(x)
    same(d.sum(), x.sum())
    same(d.max(axis=0), x.max(axis=0))
    same(d.argmin(axis=1), x.argmin(axis=1))
    same(d.mean(axis=1), x.mean(axis=1))
    same(cp.cumsum(d, axis=1), x.cumsum(axis=1))
    same(cp.arange(64, dtype=cp.float32) @ cp.arange(64, dtype=cp.float32), 85344)


@case
def indexing():
    x = np.arange(1000)
    d = cp.asarray(x)
    same(d[d % 3 == 0], x[x % 3 == 0])
    same(d[cp.asarray([5, 900, 3])], [5, 900, 3])
    counts = cp.zeros(10, dtype=cp.int32)
    cp.add.at(counts, d % 10, 1)
    same(counts, np.full(10, 100))


@case
def sorting():
    x = np.random.default_rng(2).random(5000).astype(np.float32)
    d = cp.asarray(x)
    same(cp.sort(d), np.sort(x))
    same(cp.argsort(d), np.argsort(x))
    same(cp.unique(cp.asarray([3, 1, 3, 2, 1])), [1, 2, 3])


@case
def fusion():
    @cp.fuse()
    def hypotenuse(x, y):
        return cp.sqrt(x * x + y * y)
    same(hypotenuse(cp.full(10, 3.0), cp.full(10, 4.0)), np.full(10, 5.0))


@case
def streams_and_events():
    first, second = cp.cuda.Event(), cp.cuda.Event()
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        first.record()
        total = (cp.ones(1000) + 1).sum()
        second.record()
    second.synchronize()
    assert float(total) == 2000
    assert cp.cuda.get_elapsed_time(first, second) >= 0


@case
def memory_pool():
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    held = cp.zeros(1 << 20, dtype=cp.uint8)
    assert pool.used_bytes() == before + (1 << 20)
    del held
    assert pool.used_bytes() == before
    pool.free_all_blocks()
    with cp.cuda.using_allocator(cp.cuda.MemoryAsyncPool().malloc):
        assert float(cp.ones(100).sum()) == 100


@case
def pinned_memory():
    memory = cp.cuda.alloc_pinned_memory(4096)
    host = np.frombuffer(memory, np.float32, 1024)
    host[:] = 1
    device = cp.empty(1024, dtype=cp.float32)
    device.set(host)
    assert float(device.sum()) == 1024


@case
def random_numbers():
    assert 0.4 < float(cp.random.default_rng(1).random(2000).mean()) < 0.6
    assert 0.4 < float(cp.random.RandomState(1).rand(2000).mean()) < 0.6


@case
def graphs():
    stream = cp.cuda.Stream(non_blocking=True)
    total = cp.zeros(100)
    total += 1
    with stream:
        stream.begin_capture()
        total += 1
        graph = stream.end_capture()
    for _ in range(3):
        graph.launch(stream)
    stream.synchronize()
    same(total, np.full(100, 4.0))


if __name__ == "__main__":
    run()
