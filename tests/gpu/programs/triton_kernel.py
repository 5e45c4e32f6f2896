"""Triton: a kernel compiled at run time, launched through its own launcher."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")
triton = figures.need("triton")
tl = figures.need("triton.language")


@triton.jit
def add(a, b, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(a + at, inside) + tl.load(b + at, inside), inside)


n = 1 << 20
a = torch.randn(n, device="cuda")
b = torch.randn(n, device="cuda")
out = torch.empty_like(a)


def launch():
    add[(triton.cdiv(n, 1024),)](a, b, out, n, BLOCK=1024)


launch()
print("sum", torch.equal(out, a + b))
figures.time("launch and synchronize", "us", launch, torch.cuda.synchronize)
figures.write()
