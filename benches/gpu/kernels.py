"""What benches/gpu/kernels.rs does, in PyTorch: a line `NAME TYPE milliseconds` per operation."""

import time

import torch
import torch.nn.functional as F

M, D, N, H, T, V, P, E = 32768, 1024, 4096, 16, 1024, 8192, 4096, 512
PASSES = 20


def median(f):
    times = []
    for i in range(PASSES + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        f()
        torch.cuda.synchronize()
        if i >= 3:
            times.append(time.perf_counter() - start)
    return sorted(times)[PASSES // 2]


def passes(inputs, f):
    def run():
        for x in inputs:
            x.grad = None
        f(*inputs).sum().backward()

    return median(run)


def attention(qkv):
    q, k, v = qkv.view(M // T, T, 3, H, D // H).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(M // T, T, D)


def infonce(a, b):
    logits = 10.0 * a @ b.T
    own = torch.arange(P, device="cuda")
    return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))


def block(dtype):
    layer = torch.nn.TransformerEncoderLayer(
        D, H, N, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, device="cuda"
    )
    x = torch.randn(M // T, T, D, device="cuda", dtype=dtype, requires_grad=True)

    def run():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        with torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = layer(x)
        y.float().sum().backward()

    return median(run)


def adamw():
    parameters = [torch.nn.Parameter(torch.randn(1024, 1024, device="cuda")) for _ in range(100)]
    for p in parameters:
        p.grad = 2 * p.detach()
    optimizer = torch.optim.AdamW(parameters, 1e-4, weight_decay=0.1, fused=True)

    def run():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return median(run)


def main():
    print("device", torch.cuda.get_device_name(0))
    for dtype, word in [(torch.float32, "f32"), (torch.bfloat16, "bf16")]:

        def new(*shape):
            return torch.randn(*shape, device="cuda", dtype=dtype, requires_grad=True)

        rows = torch.arange(M, device="cuda") * 7919 % M
        targets = torch.arange(8192, device="cuda") % V
        cases = {
            "linear": lambda: passes([new(M, D), new(N, D)], F.linear),
            "layer_norm": lambda: passes([new(M, D), new(D), new(D)], lambda x, w, b: F.layer_norm(x, (D,), w, b)),
            "gelu": lambda: passes([new(M, N)], F.gelu),
            "attention": lambda: passes([new(M // T, T, 3 * D)], attention),
            "cross_entropy": lambda: passes(
                [new(8192, V)], lambda x: F.cross_entropy(x, targets, label_smoothing=0.1)
            ),
            "gather": lambda: passes([new(M, D)], lambda x: x[rows]),
            "infonce": lambda: passes([new(P, E), new(P, E)], infonce),
            "block": lambda: block(dtype),
            "adamw": adamw,
        }
        for name, case in cases.items():
            print(name, word, f"{1e3 * case():.3f}", flush=True)


main()
