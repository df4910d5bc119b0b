"""The peer of benches/ops.rs: forward and backward of single operations in PyTorch, with its default threads. Needs torch.

    ops.py NAME
"""

import sys
import time

import torch
import torch.nn.functional as F

PASSES = 15
B, H, T, K = 16, 6, 128, 64
M, D, N, V = 2048, 384, 1536, 1024
name = sys.argv[1]


leaves = []


def leaf(values):
    leaves.append(values.requires_grad_())
    return values


def normal(*shape):
    return leaf(torch.randn(*shape))


def numbers(count, below):
    return torch.arange(count) * 7919 % below


def attention(batch, tokens, causal=False):
    q, k, v = (normal(batch, H, tokens, K) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def pointwise(f, width=N):
    x = normal(M, width)
    return lambda: f(x)


def swiglu(x):
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


def linear():
    x, w, b = normal(M, D), normal(N, D), normal(N)
    return lambda: F.linear(x, w, b)


def layer_norm():
    x, w, b = normal(M, D), normal(D), normal(D)
    return lambda: F.layer_norm(x, (D,), w, b)


def rms_norm():
    x, w = normal(M, D), normal(D)
    return lambda: F.rms_norm(x, (D,), w, 1e-5)


def cross_entropy():
    x, targets = normal(M, V), numbers(M, V)
    return lambda: F.cross_entropy(x, targets, label_smoothing=0.1)


def pairs(form):
    a, b = (leaf(F.normalize(torch.randn(M, D))) for _ in range(2))
    scale, bias = leaf(torch.tensor([10.0])), leaf(torch.tensor([-10.0]))
    own = torch.arange(M)
    signs = 2 * torch.eye(M) - 1

    def infonce():
        logits = scale * a @ b.T
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    def sigmoid():
        return -F.logsigmoid(signs * (scale * a @ b.T + bias)).sum() / M

    return infonce if form == "infonce" else sigmoid


def gather():
    x, rows = normal(M, D), numbers(M, M)
    return lambda: x[rows]


def fsq():
    # As vector-quantize-pytorch does.
    z, levels = normal(M * 8, 4), torch.tensor([8.0, 5, 5, 5])
    half = (levels - 1) * 1.001 / 2
    offset = torch.where(levels % 2 == 0, 0.5, 0.0)
    shift = (offset / half).atanh()
    basis = torch.tensor([1.0, 8, 40, 200])

    def quantize():
        bounded = (z + shift).tanh() * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        below = levels // 2
        quantize.codes = ((rounded.detach() + below) * basis).sum(-1).to(torch.int32)
        return rounded / below

    return quantize


def lfq():
    z, powers = normal(M * 8, 10), 2 ** torch.arange(10)

    def quantize():
        signs = torch.where(z > 0, 1.0, -1.0)
        quantize.codes = ((z > 0).int() * powers).sum(-1)
        return z + (signs - z).detach()

    return quantize


def fourier():
    x, frequencies = normal(M * 8), torch.rand(64) * 10

    def encode():
        angles = x[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    return encode


def resample():
    flux, ivar = normal(64, 4000), torch.ones(64, 4000)
    wavelength, grid = torch.arange(4000.0), torch.arange(3800.0) * 1.03

    def interpolate():
        right = torch.searchsorted(wavelength, grid).clamp(1, 3999)
        left = right - 1
        t = (grid - wavelength[left]) / (wavelength[right] - wavelength[left])
        inside = (grid >= wavelength[0]) & (grid <= wavelength[-1])
        variance = (1 - t) ** 2 / ivar[:, left] + t**2 / ivar[:, right]
        interpolate.ivar = torch.where(inside, 1 / variance, 0.0)
        return torch.where(inside, (1 - t) * flux[:, left] + t * flux[:, right], 0.0)

    return interpolate


def adamw():
    parameters = [normal(764, D) if i % 2 == 0 else normal(D) for i in range(76)]
    for p in parameters:
        p.grad = 2 * p.detach()
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    def step():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def branch(kind):
    x, g, b = normal(M, D), normal(D), normal(D)
    first = 3 * D if kind == "attention" else N
    w1, b1 = normal(first, D), normal(first)
    w2, b2 = normal(D, D if kind == "attention" else N), normal(D)

    def mlp():
        return x + F.linear(F.gelu(F.linear(F.layer_norm(x, (D,), g, b), w1, b1)), w2, b2)

    def attention():
        qkv = F.linear(F.layer_norm(x, (D,), g, b), w1, b1)
        q, k, v = qkv.view(B, T, 3, H, K).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + F.linear(y.transpose(1, 2).reshape(M, D), w2, b2)

    return mlp if kind == "mlp" else attention


cases = {
    "mlp_branch": lambda: branch("mlp"),
    "attention_branch": lambda: branch("attention"),
    "attention": lambda: attention(B, T),
    "attention_causal": lambda: attention(B, T, True),
    "attention_long": lambda: attention(2, 1024),
    "gelu": lambda: pointwise(F.gelu),
    "gelu_tanh": lambda: pointwise(lambda x: F.gelu(x, approximate="tanh")),
    "silu": lambda: pointwise(F.silu),
    "swiglu": lambda: pointwise(swiglu, 2 * N),
    "infonce": lambda: pairs("infonce"),
    "sigmoid": lambda: pairs("sigmoid"),
}
torch.manual_seed(0)
op = cases[name]() if name in cases else globals()[name]()
dy = None if name == "adamw" else torch.ones_like(op())
seconds = []
for _ in range(PASSES + 2):
    # Gradients are made anew, not added to.
    if dy is not None:
        for values in leaves:
            values.grad = None
    start = time.perf_counter()
    y = op()
    if dy is not None:
        y.backward(dy)
    seconds.append(time.perf_counter() - start)
print(f"seconds={sorted(seconds[2:])[PASSES // 2]:.6f} {name}")
