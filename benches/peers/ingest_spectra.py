"""Copies of one SDSS-like spectrum as N FITS files with noise and positions of their own: spec-000000.fits and on."""
import sys
import numpy as np
from astropy.io import fits

folder, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
loglam = (3.58 + 1e-4 * np.arange(3800)).astype("f4")
for i in range(n):
    flux = rng.normal(10, 1, loglam.size).astype("f4")
    table = fits.BinTableHDU.from_columns([
        fits.Column("flux", "E", array=flux),
        fits.Column("loglam", "E", array=loglam),
        fits.Column("ivar", "E", array=np.full_like(flux, 1.0)),
        fits.Column("and_mask", "J", array=np.zeros(flux.size, "i4")),
    ], name="COADD")
    head = fits.PrimaryHDU()
    head.header["PLUG_RA"], head.header["PLUG_DEC"] = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
    specobj = fits.BinTableHDU.from_columns([
        fits.Column("Z", "E", array=[0.1]), fits.Column("Z_ERR", "E", array=[1e-5]),
        fits.Column("CLASS", "6A", array=["GALAXY"])], name="SPECOBJ")
    fits.HDUList([head, table, specobj]).writeto(f"{folder}/spec-{i:06d}.fits", overwrite=True)
