"""PyTorch: torch.compile with its Triton kernels, also replayed as CUDA graphs."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")
figures.need("triton")
if not torch.cuda.is_available():
    figures.skip("PyTorch sees no GPU")
torch.manual_seed(7)


def body(a, b):
    return ((a * b).relu() + a.sin()).sum(-1)


a, b = torch.randn(512, 512, device="cuda"), torch.randn(512, 512, device="cuda")
wanted = body(a, b)
fused = torch.compile(body)
print("fused", torch.allclose(fused(a, b), wanted, rtol=1e-3, atol=1e-3))
replayed = torch.compile(body, mode="reduce-overhead")
for _ in range(3):
    torch.compiler.cudagraph_mark_step_begin()
    answer = replayed(a, b).clone()
print("as a graph", torch.allclose(answer, wanted, rtol=1e-3, atol=1e-3))
figures.time("fused kernel", "us", lambda: fused(a, b), torch.cuda.synchronize)
figures.write()
