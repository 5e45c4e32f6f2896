"""PyTorch: training steps and inference of a small network, eager and as a CUDA graph, and copies."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")
torch.manual_seed(7)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False

device = torch.device("cuda")
print("devices", torch.cuda.device_count(), torch.cuda.get_device_name(0))

model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
    torch.nn.Flatten(), torch.nn.Linear(1024, 256), torch.nn.GELU(),
    torch.nn.Linear(256, 10)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
criterion = torch.nn.CrossEntropyLoss()
images = torch.randn(64, 3, 32, 32).pin_memory()
labels = torch.randint(0, 10, (64,)).pin_memory()


def step():
    x = images.to(device, non_blocking=True)
    y = labels.to(device, non_blocking=True)
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


first = step().item()
for _ in range(40):
    last = step()
print("loss", figures.rounded(first), "falls:", last.item() < first * 0.8)
figures.time("training step", "ms", step, torch.cuda.synchronize)

model.eval()
fixed = images.to(device)
with torch.inference_mode():
    figures.time("inference", "ms", lambda: model(fixed), torch.cuda.synchronize)
    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(fixed)
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        answer = model(fixed)
    graph.replay()
    print("graph gives the same:", torch.allclose(answer, model(fixed), atol=1e-4))
    figures.time("inference, graph replay", "ms", graph.replay, torch.cuda.synchronize)

big = torch.randn(64 << 20)
pinned = big.pin_memory()
there = big.to(device)
back = torch.empty_like(pinned).pin_memory()
size = big.numel() * 4e-9
figures.rate("copy in 256 MiB, pageable", size, lambda: there.copy_(big), torch.cuda.synchronize)
figures.rate("copy in 256 MiB, pinned", size,
             lambda: there.copy_(pinned, non_blocking=True), torch.cuda.synchronize)
figures.rate("copy out 256 MiB, pinned", size,
             lambda: back.copy_(there, non_blocking=True), torch.cuda.synchronize)
print("came back whole:", torch.equal(back, big))
a = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
figures.time("matmul 4096 bf16", "ms", lambda: a @ a, torch.cuda.synchronize)
print("free memory is told:", torch.cuda.mem_get_info()[0] > 0)
figures.write()
