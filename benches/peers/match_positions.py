"""Two catalogues of a million positions, half of the second beside objects of the first: left.f64 and right.f64."""
import sys
import numpy as np

folder, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
np.concatenate([ra, dec]).tofile(f"{folder}/left.f64")
half = n // 2
near_dec = np.clip(dec[:half] + rng.normal(0, 0.3 / 3600, half), -90, 90)
near_ra = (ra[:half] + rng.normal(0, 0.3 / 3600, half) / np.cos(np.radians(dec[:half]))) % 360
other_ra, other_dec = rng.uniform(0, 360, n - half), np.degrees(np.arcsin(rng.uniform(-1, 1, n - half)))
np.concatenate([near_ra, other_ra, near_dec, other_dec]).tofile(f"{folder}/right.f64")
