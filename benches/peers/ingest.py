"""The ingest of benches/compare by astropy and pyarrow: the same columns of the same files, as Parquet."""
import glob
import os
import sys
import time
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

folder, out = sys.argv[1:3]
start = time.perf_counter()
writer, rows = None, []
samples = pa.struct([(k, pa.list_(pa.float32())) for k in ("flux", "ivar", "lambda")] + [("mask", pa.list_(pa.bool_()))])
schema = pa.schema([("object_id", pa.string()), ("ra", pa.float64()), ("dec", pa.float64()), ("redshift", pa.float32()),
                    ("redshift_err", pa.float32()), ("class", pa.string()), ("spectrum", samples)])
files = sorted(glob.glob(f"{folder}/spec-*.fits"))
for i, name in enumerate(files):
    with fits.open(name) as hdus:
        head, data, info = hdus[0].header, hdus[1].data, hdus[2].data
        rows.append({
            "object_id": os.path.basename(name)[5:-5], "ra": head["PLUG_RA"], "dec": head["PLUG_DEC"],
            "redshift": info["Z"][0], "redshift_err": info["Z_ERR"][0], "class": info["CLASS"][0].strip(),
            "spectrum": {"flux": data["flux"].astype("f4"), "ivar": data["ivar"].astype("f4"),
                         "lambda": (10.0 ** data["loglam"].astype("f8")).astype("f4"), "mask": data["and_mask"] != 0}})
    if len(rows) == 512 or i == len(files) - 1:
        writer = writer or pq.ParquetWriter(out, schema, compression="zstd")
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        rows = []
writer.close()
print(f"seconds={time.perf_counter() - start:.6f} objects={len(files)}")
