"""One pass over images and spectra (flux and ivar) with Hugging Face datasets: `iter` of NumPy arrays, or PyTorch's DataLoader."""
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets
import numpy as np

datasets.disable_progress_bars()
folder, how = sys.argv[1], sys.argv[2]
data = datasets.load_dataset("parquet", data_files=f"{folder}/objects.parquet", split="train", cache_dir=f"{folder}/cache")
data = data.flatten().select_columns(["image.flux", "spectrum.flux", "spectrum.ivar"])

rows, total, values = 0, 0.0, 0


def count(batch):
    global rows, total, values
    for column in ("image.flux", "spectrum.flux", "spectrum.ivar"):
        array = np.asarray(batch[column], dtype=np.float32)
        values += array.size
        total += float(array.sum(dtype=np.float64))
    rows += len(array)


start = time.perf_counter()
if how == "numpy":
    for batch in data.with_format("numpy").iter(batch_size=64):
        count(batch)
else:
    from torch.utils.data import DataLoader

    for batch in DataLoader(data.with_format("torch"), batch_size=64, num_workers=2):
        count({name: column.numpy() for name, column in batch.items()})
print(f"seconds={time.perf_counter() - start:.6f} rows={rows} values={values} sum={total:.3f}")
