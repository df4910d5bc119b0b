"""Heartbeats of record 100 of the MIT-BIH Arrhythmia Database as a catalogue: one object per beat.

    pip install wfdb pyarrow
    python data/make_heartbeats.py FOLDER_WITH_100.dat_100.hea_100.atr data/heartbeats/heartbeats.parquet

A beat has two leads around its peak (time series), the power spectrum of the chest lead in the 2.8 s around it (spectrum),
and wavelet amplitudes of both leads by frequency and time (image of two planes). All of it is measured or follows from that.
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

HALF = 512  # samples of 1/360 s around a peak that frequencies are taken from
FREQUENCIES = np.geomspace(2, 64, 16)  # of the wavelets, Hz


def power(lead):
    """Frequencies up to 45 Hz and the power there in mV^2/Hz, under a Hann window."""
    window = np.hanning(2 * HALF)
    density = np.abs(np.fft.rfft((lead - lead.mean()) * window)) ** 2 * 2 / (signal.fs * (window**2).sum())
    return np.fft.rfftfreq(2 * HALF, 1 / signal.fs)[1:129], density[1:129]


def wavelets(lead):
    """Amplitudes in mV by Morlet wavelets (Torrence & Compo 1998): 16 frequencies by 16 times, 0.33 s before to after the peak."""
    time = (np.arange(2 * HALF) - HALF) / signal.fs
    lines = []
    for frequency in FREQUENCIES:
        # The wave turns by six radians within a standard deviation of its envelope, whose sum is 1.
        envelope = np.exp(-0.5 * (time * 2 * np.pi * frequency / 6) ** 2)
        wave = envelope / envelope.sum() * np.exp(2j * np.pi * frequency * time)
        amplitude = 2 * np.abs(np.convolve(lead - lead.mean(), wave, mode="same"))
        lines.append(amplitude[HALF - 120 : HALF + 120].reshape(16, 15).mean(axis=1))
    return np.array(lines)


def rounded(values):
    """Seven bits of mantissa: more is not known, and would not compress."""
    return ((np.asarray(values, "f4").view("u4") + 0x8000) & 0xFFFF0000).view("f4")


rows = []
for i in range(1, len(peaks) - 1):
    # 0.29 s before to 0.42 s after the peak of the beat, two samples averaged: 128 at 180 per second.
    start = peaks[i] - 104
    leads = signal.p_signal[start : start + 256].reshape(128, 2, 2).mean(axis=1)
    if leads.shape != (128, 2) or start < 0:
        continue
    before, after = np.diff(peaks[i - 1 : i + 2]) / signal.fs
    row = {
        "object_id": f"100-{i:04}",
        "mlii": {"voltage": leads[:, 0].astype("f4")},
        "v5": {"voltage": leads[:, 1].astype("f4")},
        "interval_before": before,
        "interval_after": after,
        "beat": kinds[i],
    }
    # The first and the last beats are too near the ends of the record for frequencies, and lack them.
    around = signal.p_signal[max(peaks[i] - HALF, 0) : peaks[i] + HALF]
    if len(around) == 2 * HALF:
        frequency, density = power(around[:, 1])
        row["v5_power"] = {"frequency": frequency.astype("f4"), "power": rounded(density)}
        planes = [rounded(wavelets(around[:, lead])).tolist() for lead in (0, 1)]
        row["wavelets"] = {"lead": ["mlii", "v5"], "amplitude": planes}
    rows.append(row)

values = pa.list_(pa.float32())


def field(name, kind, unit):
    return pa.field(name, kind, metadata={"unit": unit})


def struct(name, *fields):
    return pa.field(name, pa.struct(fields))


schema = pa.schema(
    [
        ("object_id", pa.string()),
        struct("mlii", field("voltage", values, "mV")),
        struct("v5", field("voltage", values, "mV")),
        field("interval_before", pa.float64(), "s"),
        field("interval_after", pa.float64(), "s"),
        ("beat", pa.string()),
        struct("v5_power", field("frequency", values, "Hz"), field("power", values, "mV^2/Hz")),
        struct("wavelets", pa.field("lead", pa.list_(pa.string())), field("amplitude", pa.list_(pa.list_(values)), "mV")),
    ]
)
pq.write_table(
    pa.Table.from_pylist(rows, schema),
    out,
    compression="zstd",
    compression_level=15,
    row_group_size=256,
    use_dictionary=["beat", "mlii.voltage.list.element", "v5.voltage.list.element"],
    use_byte_stream_split=["v5_power.power.list.element", "wavelets.amplitude.list.element.list.element.list.element"],
)
