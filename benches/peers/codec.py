"""The peer of benches/codec.rs: the codecs of the PyPI package polymathic-aion 0.0.2 at their published size, with its default threads. Needs
that package and torch.

    codec.py spectrum [encode|decode]
"""

import sys
import time

# Its folder comes first in the path, and a file there has the package's name.
sys.path.pop(0)

import torch
from aion.codecs.spectrum import SpectrumCodec
from aion.modalities import Spectrum

PASSES, BATCH, SAMPLES = 7, 8, 7781
name, way = sys.argv[1], (sys.argv[2:] or ["encode"])[0]
assert name == "spectrum"
codec = SpectrumCodec(encoder_dims=(96, 192, 384, 512), latent_channels=512, embedding_dim=10).eval()
places = torch.arange(BATCH * SAMPLES, dtype=torch.float32).reshape(BATCH, SAMPLES)
flux = torch.sin(places * 0.01) + 2
wavelength = (torch.arange(SAMPLES) * 0.8 + 3600).repeat(BATCH, 1)
spectrum = Spectrum(flux, torch.ones_like(flux), torch.zeros_like(flux, dtype=torch.bool), wavelength)
seconds = []
with torch.inference_mode():
    codes = codec.encode(spectrum)
    for _ in range(PASSES + 2):
        start = time.perf_counter()
        codec.decode(codes, wavelength=wavelength) if way == "decode" else codec.encode(spectrum)
        seconds.append(time.perf_counter() - start)
print(f"seconds={sorted(seconds[2:])[PASSES // 2]:.6f} {name} {way} {BATCH}x{codes.shape[1]}")
