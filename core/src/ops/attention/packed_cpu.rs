//! Attention on slices of rows that hold all heads side by side: a task per object, head after head,
//! each copied close together first.

use super::cpu::{BLOCK, HeadShape, Inputs, Keys, Scratch, attention_weights, head_gradients, sized};
use crate::ops::product::{Matrix, Onto, product};
use rayon::prelude::*;

/// How the rows of queries, keys and values lie, all heads side by side.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    /// D, of all heads together.
    pub(super) width: usize,
    /// From a row of queries to the next.
    pub(super) q_stride: usize,
    /// From a row of keys and values to the next.
    pub(super) kv_stride: usize,
    /// Of the keys in their row; values follow behind D.
    pub(super) k_offset: usize,
}

/// Memory of a thread: one head of one object, rows close together.
#[derive(Default)]
struct Head {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    out: Vec<f32>,
    dout: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    scratch: Scratch,
}

impl Packed {
    fn shape(self) -> HeadShape {
        let Self { queries, keys, heads, width, .. } = self;
        HeadShape { batch: 1, heads, queries, keys, width: width / heads }
    }

    fn is_empty(self) -> bool {
        self.queries * self.keys * self.width == 0
    }

    /// Copies the rows of head `head` that take part.
    fn load(self, into: &mut Head, head: usize, keys: &Keys, q: &[f32], kv: &[f32]) {
        let width = self.width / self.heads;
        let at = head * width;
        load_rows(&mut into.q, q, (self.q_stride, at, width), 0..self.queries);
        for (buffer, offset) in [(&mut into.k, self.k_offset), (&mut into.v, self.k_offset + self.width)] {
            let place = (self.kv_stride, offset + at, width);
            match keys {
                Keys::First(count) => load_rows(buffer, kv, place, 0..*count),
                Keys::Listed(rows) => load_rows(buffer, kv, place, rows.iter().copied()),
            }
        }
    }
}

/// `place` is the stride from row to row, the offset in a row, and the width.
fn load_rows(
    into: &mut Vec<f32>,
    values: &[f32],
    (stride, offset, width): (usize, usize, usize),
    rows: impl Iterator<Item = usize>,
) {
    into.clear();
    rows.for_each(|row| into.extend_from_slice(&values[row * stride + offset..][..width]));
}

fn store_rows(
    values: &mut [f32],
    from: &[f32],
    (stride, offset, width): (usize, usize, usize),
    rows: impl Iterator<Item = usize>,
) {
    for (row, from) in rows.zip(from.chunks_exact(width)) {
        values[row * stride + offset..][..width].copy_from_slice(from);
    }
}

fn store_keys(values: &mut [f32], from: &[f32], place: (usize, usize, usize), keys: &Keys) {
    match keys {
        Keys::First(count) => store_rows(values, from, place, 0..*count),
        Keys::Listed(rows) => store_rows(values, from, place, rows.iter().copied()),
    }
}

/// As [`super::cpu::forward`], a task per object; `q` and `kv` may be the same slice. `out` comes as zeros.
pub(super) fn forward(packed: Packed, keys: &[Keys], q: &[f32], kv: &[f32], out: &mut [f32]) {
    if packed.is_empty() {
        return;
    }
    let shape = packed.shape();
    let width = shape.width;
    out.par_chunks_mut(packed.queries * packed.width)
        .zip(q.par_chunks(packed.queries * packed.q_stride).zip(kv.par_chunks(packed.keys * packed.kv_stride)))
        .zip(keys)
        .for_each_init(Head::default, |memory, ((out, (q, kv)), keys)| {
            let count = keys.count();
            if count == 0 {
                return;
            }
            for head in 0..packed.heads {
                packed.load(memory, head, keys, q, kv);
                let result = sized(&mut memory.out, packed.queries * width);
                for (result, q) in result.chunks_mut(BLOCK * width).zip(memory.q.chunks(BLOCK * width)) {
                    let weights = sized(&mut memory.scratch.weights, q.len() / width * count);
                    attention_weights(weights, q, &memory.k, shape);
                    let v = Matrix::row_major(&memory.v, width);
                    product(result, Matrix::row_major(weights, count), v, 1.0, Onto::Nothing);
                }
                store_rows(out, result, (packed.width, head * width, width), 0..packed.queries);
            }
        });
}

impl Packed {
    /// Gradients of one head of one object, in `memory`.
    fn head_backward(
        self,
        memory: &mut Head,
        head: usize,
        keys: &Keys,
        (q, kv): (&[f32], &[f32]),
        (out, dout): (&[f32], &[f32]),
    ) {
        let shape = self.shape();
        let width = shape.width;
        self.load(memory, head, keys, q, kv);
        let place = (self.width, head * width, width);
        load_rows(&mut memory.out, out, place, 0..self.queries);
        load_rows(&mut memory.dout, dout, place, 0..self.queries);
        for (buffer, length) in
            [(&mut memory.dq, memory.q.len()), (&mut memory.dk, memory.k.len()), (&mut memory.dv, memory.v.len())]
        {
            buffer.clear();
            buffer.resize(length, 0.0);
        }
        let inputs = Inputs { q: &memory.q, k: &memory.k, v: &memory.v };
        let gradients = (memory.dq.as_mut_slice(), memory.dk.as_mut_slice(), memory.dv.as_mut_slice());
        head_gradients(shape, &mut memory.scratch, inputs, (&memory.out, &memory.dout), gradients);
    }

    /// Puts the gradients of keys and values into a row like that of `kv`.
    fn store_kv(self, memory: &Head, head: usize, keys: &Keys, dkv: &mut [f32]) {
        let width = self.width / self.heads;
        let at = self.k_offset + head * width;
        store_keys(dkv, &memory.dk, (self.kv_stride, at, width), keys);
        store_keys(dkv, &memory.dv, (self.kv_stride, at + self.width, width), keys);
    }

    fn store_q(self, memory: &Head, head: usize, dq: &mut [f32]) {
        let width = self.width / self.heads;
        store_rows(dq, &memory.dq, (self.q_stride, head * width, width), 0..self.queries);
    }
}

/// Gradient of `qkv` from that of `out`.
pub(super) fn self_backward(packed: Packed, keys: &[Keys], qkv: &[f32], out: &[f32], dout: &[f32]) -> Vec<f32> {
    let mut dqkv = vec![0.0; qkv.len()];
    if packed.is_empty() {
        return dqkv;
    }
    let (rows, columns) = (packed.queries * packed.q_stride, packed.queries * packed.width);
    dqkv.par_chunks_mut(rows)
        .zip(qkv.par_chunks(rows))
        .zip(out.par_chunks(columns).zip(dout.par_chunks(columns)))
        .zip(keys)
        .for_each_init(Head::default, |memory, (((dqkv, qkv), (out, dout)), keys)| {
            for head in 0..if keys.count() == 0 { 0 } else { packed.heads } {
                packed.head_backward(memory, head, keys, (qkv, qkv), (out, dout));
                packed.store_q(memory, head, dqkv);
                packed.store_kv(memory, head, keys, dqkv);
            }
        });
    dqkv
}

/// Gradients of `q` and `kv` from that of `out`.
pub(super) fn cross_backward(
    packed: Packed,
    keys: &[Keys],
    q: &[f32],
    kv: &[f32],
    out: &[f32],
    dout: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut dq, mut dkv) = (vec![0.0; q.len()], vec![0.0; kv.len()]);
    if packed.is_empty() {
        return (dq, dkv);
    }
    let (queries, rows) = (packed.queries * packed.width, packed.keys * packed.kv_stride);
    dq.par_chunks_mut(queries)
        .zip(dkv.par_chunks_mut(rows))
        .zip(q.par_chunks(queries).zip(kv.par_chunks(rows)))
        .zip(out.par_chunks(queries).zip(dout.par_chunks(queries)))
        .zip(keys)
        .for_each_init(Head::default, |memory, ((((dq, dkv), (q, kv)), (out, dout)), keys)| {
            for head in 0..if keys.count() == 0 { 0 } else { packed.heads } {
                packed.head_backward(memory, head, keys, (q, kv), (out, dout));
                packed.store_q(memory, head, dq);
                packed.store_kv(memory, head, keys, dkv);
            }
        });
    (dq, dkv)
}
