"""PyTorch: training in mixed precision with a gradient scaler, and an attention block."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")
if not torch.cuda.is_available():
    figures.skip("PyTorch sees no GPU")
torch.manual_seed(7)
model = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.0).cuda()
head = torch.nn.Linear(64, 10).cuda()
optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.05)
scaler = torch.amp.GradScaler("cuda")
x = torch.randn(16, 24, 64, device="cuda")
wanted = torch.randint(0, 10, (16,), device="cuda")


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=torch.float16):
        loss = torch.nn.functional.cross_entropy(head(model(x).mean(1)).float(), wanted)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss


first = step().item()
for _ in range(30):
    last = step()
print("loss falls:", last.item() < first * 0.9)
figures.time("step in mixed precision", "ms", step, torch.cuda.synchronize)
figures.write()
