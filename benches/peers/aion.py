"""The peer of benches/aion.rs: the transformer of the package `polymathic-aion`, with random weights and its default threads.

    aion.py encode|train|memory [BATCH TOKENS TARGETS]

Needs that package (or its folder in PYTHONPATH), torch and einops.
"""

import resource
import sys
import time
from functools import partial

# Its folder comes first in the path, and this file has the package's name.
sys.path.pop(0)

import torch
import torch.nn.functional as F
from aion.fourm.fm import FourM
from aion.fourm.fm_utils import LayerNorm
from torch import nn

PASSES, D, H, L, CLASSES, MODALITIES = 3, 768, 12, 12, 1024, 4

what, *sizes = sys.argv[1:]
B, N, M = [int(size) for size in sizes] or ((8, 256, 256) if what == "train" else (8, 906, 0))

torch.manual_seed(0)
net = FourM(
    encoder_embeddings={},
    decoder_embeddings={},
    modality_info={},
    dim=D,
    encoder_depth=L,
    decoder_depth=L,
    num_heads=H,
    qkv_bias=False,
    proj_bias=False,
    mlp_bias=False,
    act_layer=nn.SiLU,
    norm_layer=partial(LayerNorm, eps=1e-6, bias=False),
    gated_mlp=True,
)
head = nn.Linear(D, CLASSES, bias=False)
parameters = [*net.parameters(), *head.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=1e-4)
x, y = torch.randn(B, N, D), torch.randn(B, M, D)
labels = torch.arange(B * M) * 7919 % CLASSES
# As its embeddings give them: true where there is nothing to see.
encoder_mask = torch.zeros(B, 1, N, dtype=torch.bool)
modality = torch.arange(M) // max(M // MODALITIES, 1)
decoder_mask = (modality[None] != modality[:, None]).expand(B, M, M)


def encode():
    return net.decoder_proj_context(net.forward_encoder(x, encoder_mask))


seconds = []
for _ in range(PASSES + 1):
    start = time.perf_counter()
    if what == "train":
        loss = F.cross_entropy(head(net.forward_decoder(y, encode(), encoder_mask, decoder_mask)).view(-1, CLASSES), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    else:
        net.eval()
        with torch.inference_mode():
            encode()
    seconds.append(time.perf_counter() - start)
if what == "memory":
    print(f"megabytes={resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f}", end=" ")
else:
    print(f"seconds={sorted(seconds[1:])[PASSES // 2]:.5f}", end=" ")
print(f"batch={B} tokens={N} targets={M} width={D} depth={L}")
