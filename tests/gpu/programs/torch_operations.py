"""PyTorch: tensors of every kind, operators against the CPU, autograd, random numbers, linear algebra."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")
if not torch.cuda.is_available():
    figures.skip("PyTorch sees no GPU")
torch.manual_seed(7)
torch.backends.cuda.matmul.allow_tf32 = False
print("device", torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0))
print("properties told:", torch.cuda.get_device_properties(0).total_memory > 0)

x, y = torch.randn(257, 129), torch.randn(257, 129)
OPERATIONS = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "exp": lambda a, b: a.exp(),
    "tanh": lambda a, b: (a - b).tanh(), "sum": lambda a, b: a.sum(1), "max": lambda a, b: a.amax(0),
    "cumsum": lambda a, b: a.cumsum(0), "softmax": lambda a, b: (a * b).softmax(-1),
    "sort": lambda a, b: a.sort(0).values, "where": lambda a, b: torch.where(a > b, a, b),
    "matmul": lambda a, b: a @ b.T, "gather": lambda a, b: a.gather(1, (b.abs() * 9).long() % 129),
    "index": lambda a, b: a[b > 0], "norm": lambda a, b: a.norm(dim=1),
    "layer_norm": lambda a, b: torch.nn.functional.layer_norm(a, (129,)),
    "conv": lambda a, b: torch.nn.functional.conv1d(a[None], b[:8, None, :5].repeat(1, 257, 1)),
    "svd": lambda a, b: torch.linalg.svdvals(a[:32, :32]), "fft": lambda a, b: torch.fft.rfft(a).abs(),
}
for name, run in OPERATIONS.items():
    same = torch.allclose(run(x.cuda(), y.cuda()).cpu(), run(x, y), rtol=1e-3, atol=1e-3)
    print(name, same)
for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool):
    print(kind, torch.equal((x * 9).to(kind).cuda().cpu(), (x * 9).to(kind)))

w = x.cuda().requires_grad_()
((w * y.cuda()).tanh().sum() ** 2).backward()
v = x.clone().requires_grad_()
((v * y).tanh().sum() ** 2).backward()
print("autograd", torch.allclose(w.grad.cpu(), v.grad, rtol=1e-3, atol=1e-2))
generator = torch.Generator(device="cuda").manual_seed(3)
print("seeded", figures.rounded(torch.rand(1000, device="cuda", generator=generator).sum()))
small = torch.ones(16, device="cuda")
figures.time("small operator and wait", "us", lambda: small.add_(1), torch.cuda.synchronize)
figures.time("item()", "us", small[0].item, torch.cuda.synchronize)
figures.write()
