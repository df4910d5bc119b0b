"""The positions of `match_positions.py` as two CSV files with a magnitude each, left.csv and right.csv, and mappings for them."""
import sys
import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(2)
for name in ("left", "right"):
    ra, dec = np.fromfile(f"{folder}/{name}.f64").reshape(2, -1)
    with open(f"{folder}/{name}.csv", "w") as out:
        out.write(f"object_id,ra,dec,mag_{name}\n")
        for i, row in enumerate(zip(ra, dec, rng.uniform(15, 25, ra.size))):
            out.write("%s%d,%.9f,%.9f,%.4f\n" % (name[0], i, *row))
    with open(f"{folder}/{name}.toml", "w") as out:
        columns = "".join(f'{c} = {{ from = "{c}" }}\n' for c in ("object_id", "ra", "dec", f"mag_{name}"))
        out.write(f'[source]\nfiles = ["{folder}/{name}.csv"]\nlayout = "row"\n[column]\n{columns}')
