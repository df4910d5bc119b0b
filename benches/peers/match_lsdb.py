"""Nearest neighbour within 1 arcsecond of two HATS catalogues by LSDB, files read and result written (or with `counted` kept in memory),
after a first run to warm up."""
import shutil
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import dask
import lsdb

folder, how = sys.argv[1:]


def match():
    shutil.rmtree(f"{folder}/lsdb", ignore_errors=True)
    left, right = (lsdb.open_catalog(f"{folder}/hats_{name}", columns="all") for name in ("left", "right"))
    found = left.crossmatch(right, radius_arcsec=1, n_neighbors=1, suffixes=("_l", "_r"), require_right_margin=False)
    if how == "counted":
        return found.compute()
    found.write_catalog(f"{folder}/lsdb")


with dask.config.set(scheduler="threads"):
    match()
    start = time.perf_counter()
    pairs = match()
    print(f"seconds={time.perf_counter() - start:.6f} {how}")
print(len(lsdb.open_catalog(f"{folder}/lsdb") if how == "written" else pairs), "pairs", file=sys.stderr)
