"""Heartbeats of record 100 of the MIT-BIH Arrhythmia Database as a catalogue: one object per beat.

    pip install wfdb pyarrow
    python data/make_heartbeats.py FOLDER_WITH_100.dat_100.hea_100.atr data/heartbeats/heartbeats.parquet
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import wfdb

record, out = sys.argv[1] + "/100", sys.argv[2]
signal, notes = wfdb.rdrecord(record), wfdb.rdann(record, "atr")
is_beat = np.isin(notes.symbol, ["N", "A", "V"])
peaks, kinds = notes.sample[is_beat], np.array(notes.symbol)[is_beat]

rows = []
for i in range(1, len(peaks) - 1):
    # 0.29 s before to 0.42 s after the peak of the beat, two samples averaged: 128 at 180 per second.
    start = peaks[i] - 104
    leads = signal.p_signal[start : start + 256].reshape(128, 2, 2).mean(axis=1)
    if leads.shape != (128, 2) or start < 0:
        continue
    before, after = np.diff(peaks[i - 1 : i + 2]) / signal.fs
    rows.append(
        {
            "object_id": f"100-{i:04}",
            "mlii": {"voltage": leads[:, 0].astype("f4")},
            "v5": {"voltage": leads[:, 1].astype("f4")},
            "interval_before": before,
            "interval_after": after,
            "beat": kinds[i],
        }
    )
lead = pa.struct([("voltage", pa.list_(pa.float32()))])
number = pa.float64()
schema = pa.schema(
    [
        ("object_id", pa.string()),
        pa.field("mlii", lead, metadata={"unit": "mV"}),
        pa.field("v5", lead, metadata={"unit": "mV"}),
        pa.field("interval_before", number, metadata={"unit": "s"}),
        pa.field("interval_after", number, metadata={"unit": "s"}),
        ("beat", pa.string()),
    ]
)
pq.write_table(pa.Table.from_pylist(rows, schema), out, compression="zstd", row_group_size=256)
