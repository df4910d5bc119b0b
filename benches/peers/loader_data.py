"""A Parquet file of N objects, each with an image of 3 x 64 x 64 pixels and a spectrum of 3,800 samples."""
import sys
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
writer = None
for start in range(0, n, 256):
    rows = min(256, n - start)

    def lists(values, *lengths):
        # Sixty-fourths, so that the sum of all values does not depend on their order.
        array = pa.array((np.round(values * 64) / 64).astype("f4"))
        for length in reversed(lengths):
            array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype="i4"), array)
        return array

    noise = lambda *shape: rng.normal(10, 3, int(np.prod(shape)))
    table = pa.table({
        "object_id": [f"o{start + i}" for i in range(rows)],
        "image": pa.StructArray.from_arrays([lists(noise(rows, 3, 64, 64), 3, 64, 64)], ["flux"]),
        "spectrum": pa.StructArray.from_arrays(
            [lists(noise(rows, 3800), 3800), lists(noise(rows, 3800), 3800), lists(noise(rows, 3800), 3800)],
            ["flux", "ivar", "lsf_sigma"]),
        "redshift": noise(rows),
    })
    writer = writer or pq.ParquetWriter(f"{folder}/objects.parquet", table.schema, compression="zstd")
    writer.write_table(table)
writer.close()
