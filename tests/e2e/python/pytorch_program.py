"""What PyTorch is asked to do on a device; run by python_tests.py.

Its own kernels come as machine code only, so what is used here is what needs none of them: the
allocator, copies, streams, cuBLAS, cuFFT and cuDNN (which carry PTX), autograd, and kernels compiled here.
README.md lists what does not work.
"""
import torch
from cuda.bindings import nvrtc

from cases import case, run

KERNELS = r"""
extern "C" __global__ void relu(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] > 0 ? x[i] : 0;
}
extern "C" __global__ void relu_back(const float* x, const float* dy, float* dx, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) dx[i] = x[i] > 0 ? dy[i] : 0;
}
extern "C" __global__ void squared_error(const float* y, const float* wanted, float* slope,
                                         float* error, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float d = y[i] - wanted[i];
  slope[i] = 2 * d / n;
  atomicAdd(error, d * d / n);
}
extern "C" __global__ void descend(float* w, const float* slope, double rate, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) w[i] -= (float)rate * slope[i];
}
"""


def compiled(source, names):
    """Kernels that take tensors and numbers, from PTX."""
    error, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, None, None)
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, error
    (error,) = nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_80"])
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, error
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = bytes(size)
    nvrtc.nvrtcGetPTX(program, text)
    torch.cuda.init()
    torch.cuda.current_stream()
    return torch.cuda._utils._cuda_load_module(text, names)


_kernels = {}


def kernel(name):
    if not _kernels:
        torch.zeros(1).cuda()  # makes the context current, which loading a module needs
        _kernels.update(compiled(KERNELS, ["relu", "relu_back", "squared_error", "descend"]))
    return _kernels[name]


def launch(name, count, *arguments):
    kernel(name)(((count + 127) // 128, 1, 1), (128, 1, 1), arguments)


class Relu(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        y = torch.empty_like(x)
        launch("relu", x.numel(), x, y, x.numel())
        return y

    @staticmethod
    def backward(context, slope):
        (x,) = context.saved_tensors
        back = torch.empty_like(x)
        launch("relu_back", x.numel(), x, slope.contiguous(), back, x.numel())
        return back


class SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(context, y, wanted):
        slope, error = torch.empty_like(y), torch.zeros(1).cuda()
        launch("squared_error", y.numel(), y, wanted, slope, error, y.numel())
        context.save_for_backward(slope)
        return error

    @staticmethod
    def backward(context, _):
        (slope,) = context.saved_tensors
        return slope, None


@case
def discovery():
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 1
    properties = torch.cuda.get_device_properties(0)
    assert properties.name == "Farcall Software GPU", properties
    assert torch.cuda.get_device_capability(0) == (properties.major, properties.minor)


@case
def memory():
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total
    before = torch.cuda.memory_allocated()
    held = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() == before + (1 << 20)
    del held
    assert torch.cuda.memory_allocated() == before
    torch.cuda.empty_cache()
    assert "allocated" in torch.cuda.memory_summary().lower()


@case
def copies():
    x = torch.arange(100_000, dtype=torch.float64).reshape(100, 1000)
    assert torch.equal(x.cuda().cpu(), x)
    assert torch.equal(x.cuda()[3:7].cpu(), x[3:7])
    assert torch.equal(x.cuda().clone().cpu(), x)
    pinned = x.pin_memory()
    assert torch.equal(pinned.cuda(non_blocking=True).cpu(), x)


@case
def streams_and_events():
    stream = torch.cuda.Stream()
    first, second = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    host = torch.arange(1000.0).pin_memory()
    with torch.cuda.stream(stream):
        first.record()
        device = host.cuda(non_blocking=True)
        second.record()
    torch.cuda.current_stream().wait_stream(stream)
    second.synchronize()
    assert first.elapsed_time(second) >= 0
    assert torch.equal(device.cpu(), host)


@case
def cublas():
    torch.manual_seed(1)
    for kind, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10), (torch.float16, 2e-2)):
        a, b = torch.rand(33, 20).to(kind), torch.rand(20, 50).to(kind)
        torch.testing.assert_close((a.cuda() @ b.cuda()).cpu(), a @ b, rtol=tolerance, atol=1e-3)
    a, v = torch.rand(16, 24), torch.rand(24)
    torch.testing.assert_close(torch.mv(a.cuda(), v.cuda()).cpu(), torch.mv(a, v))
    x, w, bias = torch.rand(8, 24), torch.rand(16, 24), torch.rand(16)
    torch.testing.assert_close(torch.nn.functional.linear(x.cuda(), w.cuda(), bias.cuda()).cpu(),
                               torch.nn.functional.linear(x, w, bias))
    batch = torch.rand(3, 8, 8)
    torch.testing.assert_close(torch.bmm(batch.cuda(), batch.cuda()).cpu(),
                               torch.bmm(batch, batch))


@case
def cudnn_convolution():
    torch.manual_seed(2)
    x, w = torch.rand(2, 3, 12, 12), torch.rand(4, 3, 3, 3)
    torch.testing.assert_close(torch.nn.functional.conv2d(x.cuda(), w.cuda()).cpu(),
                               torch.nn.functional.conv2d(x, w), rtol=1e-4, atol=1e-4)


@case
def cufft():
    torch.manual_seed(4)
    x = torch.rand(4, 60, dtype=torch.complex64)
    torch.testing.assert_close(torch.fft.fft(x.cuda()).cpu(), torch.fft.fft(x), rtol=1e-4,
                               atol=1e-4)


@case
def kernels_of_ones_own():
    x = torch.linspace(-1, 1, 1000)
    y = torch.empty(1000, device="cuda")
    launch("relu", 1000, x.cuda(), y, 1000)
    assert torch.equal(y.cpu(), torch.relu(x))


@case
def training():
    """A network of two layers learns |x0 - x1|: the mean squared error falls below 0.001."""
    torch.manual_seed(3)
    x = torch.rand(256, 2)
    wanted = (x[:, :1] - x[:, 1:]).abs().cuda()
    x = x.cuda()
    first = torch.nn.Linear(2, 32, bias=False).cuda()
    second = torch.nn.Linear(32, 1, bias=False).cuda()
    one = torch.ones(1).cuda()
    errors = []
    for step in range(300):
        error = SquaredError.apply(second(Relu.apply(first(x))), wanted)
        error.backward(gradient=one)
        with torch.no_grad():
            for layer in (first, second):
                w = layer.weight
                launch("descend", w.numel(), w, w.grad.contiguous(), 0.3, w.numel())
                w.grad = None
        if step % 50 == 0 or step == 299:
            errors.append(error.item())
    assert errors[-1] < 0.001 < errors[0], errors


if __name__ == "__main__":
    run()
