"""The peer of benches/step.rs: the same transformer in PyTorch, eager, with its default threads. Needs torch.

    step.py SHAPE train|embed|memory even|uneven [recompute]
"""

import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

STEPS, INPUTS, CLASSES = 7, 64, 1024
SHAPES = {
    "base": (384, 6, 6, 16, 128),
    "astroclip": (768, 6, 6, 2, 778),
    "aion": (768, 12, 12, 2, 512),
    "deep": (384, 12, 6, 32, 128),
}
OF_128 = [37, 101, 5, 64, 120, 88, 17, 49, 128, 73, 92, 11, 56, 115, 29, 80]

shape, what, lengths = sys.argv[1:4]
recompute = "recompute" in sys.argv[4:]
D, L, H, B, T = SHAPES[shape]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(D), nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D)
        self.norm2, self.first, self.second = nn.LayerNorm(D), nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x, mask):
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, H, D // H).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        return x + self.second(F.gelu(self.first(self.norm2(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(INPUTS, D), nn.LayerNorm(D), nn.Linear(D, CLASSES)
        self.blocks = nn.ModuleList(Block() for _ in range(L))

    def encode(self, x, mask):
        x = self.embed(x)
        for block in self.blocks:
            x = checkpoint(block, x, mask, use_reentrant=False) if recompute else block(x, mask)
        return self.norm(x)


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
own = [OF_128[i % 16] * T // 128 if lengths == "uneven" else T for i in range(B)]
valid = torch.arange(T)[None] < torch.tensor(own)[:, None]
mask = None if lengths == "even" else valid[:, None, None, :]
x = torch.randn(B, T, INPUTS)
targets = torch.where(valid.view(-1), torch.arange(B * T) * 7919 % CLASSES, -100)
seconds = []
for _ in range(STEPS + 1):
    start = time.perf_counter()
    if what == "embed":
        with torch.inference_mode():
            net.encode(x, mask)
    else:
        loss = F.cross_entropy(net.head(net.encode(x, mask)).view(-1, CLASSES), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    seconds.append(time.perf_counter() - start)
if what == "memory":
    print(f"megabytes={resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f}", end=" ")
else:
    print(f"seconds={sorted(seconds[1:])[STEPS // 2]:.5f}", end=" ")
print(f"tokens={sum(own)} width={D} depth={L}")
