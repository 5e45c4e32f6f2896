"""PyTorch: a DataLoader with worker processes and pinned memory feeding the GPU."""
from _figures import Figures

figures = Figures()
torch = figures.need("torch")


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, at):
        return torch.full((3, 32, 32), float(at)), at


def main():
    if not torch.cuda.is_available():
        figures.skip("PyTorch sees no GPU")
    device = torch.device("cuda")
    torch.zeros(1, device=device)  # CUDA is in use before the workers are forked
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(Numbers(), batch_size=32, num_workers=workers,
                                             pin_memory=True)
        total = torch.zeros((), device=device, dtype=torch.float64)
        for images, labels in loader:
            total += images.to(device, non_blocking=True).double().mean((1, 2, 3)).sum()
            total -= labels.to(device, non_blocking=True).sum()
        print("workers", workers, "sum of differences", total.item())
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        x = torch.arange(1000, device=device).sum()
    torch.cuda.current_stream().wait_stream(side)
    print("other stream", x.item())
    figures.write()


if __name__ == "__main__":
    main()
