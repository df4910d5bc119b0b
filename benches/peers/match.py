"""Nearest neighbours within 1 arcsec by astropy's match_to_catalog_sky; prints what benches/match.rs prints."""
import sys
import time
import numpy as np
from astropy.coordinates import SkyCoord


def read(name):
    ra, dec = np.fromfile(f"{sys.argv[1]}/{name}.f64").reshape(2, -1)
    return SkyCoord(ra, dec, unit="deg")


left, right = read("left"), read("right")
start = time.perf_counter()
index, angle, _ = left.match_to_catalog_sky(right)
keep = angle.arcsec <= 1.0
seconds = time.perf_counter() - start
a, b = np.nonzero(keep)[0].astype(np.uint64), index[keep].astype(np.uint64)
print(f"seconds={seconds:.6f} pairs={keep.sum()} checksum={((a * 31 + b * 17) % 1000003).sum()}")
