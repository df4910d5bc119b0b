//! Activations on slices, chunks of values as tasks.

use super::Activation;
use crate::ops::simd::{dispatched, exp, exp_m1, fma, normal_cdf};
use crate::ops::slices::made;

/// Values per task.
const CHUNK: usize = 1 << 14;

/// Values per task: whole rows for pairs of values.
fn chunk(kind: Activation, width: usize) -> usize {
    if kind.gated() { CHUNK.div_ceil(width.max(1)) * width } else { CHUNK }
}

/// `y = f(x)`, for rows of `inputs` values.
pub(super) fn forward(kind: Activation, inputs: usize, x: &[f32]) -> Vec<f32> {
    let outputs = kind.outputs(inputs);
    if outputs == 0 {
        return Vec::new();
    }
    let ratio = inputs / outputs;
    made(x.len() / ratio, chunk(kind, outputs), |start, y| {
        let x = &x[start * ratio..][..y.len() * ratio];
        if kind.gated() {
            gated_chunk(kind, x, y, outputs);
        } else {
            forward_chunk(kind, x, y);
        }
    })
}

/// `dx` from the gradient `dy` of `y = f(x)`.
pub(super) fn backward(kind: Activation, inputs: usize, x: &[f32], dy: &[f32]) -> Vec<f32> {
    made(x.len(), chunk(kind, inputs), |start, dx| {
        let x = &x[start..][..dx.len()];
        if kind.gated() {
            gated_backward_chunk(kind, x, &dy[start / 2..][..dx.len() / 2], dx, inputs / 2);
        } else {
            backward_chunk(kind, x, &dy[start..][..dx.len()], dx);
        }
    })
}

/// `f(x)` and `f'(x)` of GELU.
#[inline(always)]
fn gelu<const FMA: bool>(x: f32) -> (f32, f32) {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    let below = normal_cdf::<FMA>(x);
    let density = DENSITY_AT_ZERO * exp::<FMA>(-0.5 * x * x);
    (x * below, fma::<FMA>(x, density, below))
}

/// `1 / (1 + exp(-x))`; 0 where that is below the smallest normal number.
#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let share = 1.0 / (1.0 + exp::<FMA>(-x));
    if x < -87.0 { 0.0 } else { share }
}

/// As [`gelu`], with `Φ(x)` replaced by `1 / (1 + exp(-2 √(2/π) (x + 0.044715 x³)))`, which is the form with the
/// hyperbolic tangent.
#[inline(always)]
fn gelu_tanh<const FMA: bool>(x: f32) -> (f32, f32) {
    const TWICE: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;
    // Beyond these the share is 0 or 1 anyway, and the cube would overflow.
    let near = x.clamp(-30.0, 30.0);
    let square = near * near;
    let share = sigmoid::<FMA>(TWICE * near * fma::<FMA>(CUBE, square, 1.0));
    let slope = TWICE * fma::<FMA>(3.0 * CUBE, square, 1.0) * share * (1.0 - share);
    (x * share, fma::<FMA>(near, slope, share))
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
fn silu<const FMA: bool>(x: f32) -> (f32, f32) {
    let share = sigmoid::<FMA>(x);
    (x * share, share * fma::<FMA>(x, 1.0 - share, 1.0))
}

#[inline(always)]
fn elu<const FMA: bool>(x: f32) -> (f32, f32) {
    let below = exp_m1::<FMA>(if x > 0.0 { 0.0 } else { x });
    if x > 0.0 { (x, 1.0) } else { (below, below + 1.0) }
}

/// NaN stays what it is.
#[inline(always)]
fn relu(x: f32) -> (f32, f32) {
    if x < 0.0 { (0.0, 0.0) } else { (x, if x > 0.0 { 1.0 } else { 0.0 }) }
}

/// Calls `$rows(.., function)` for the function of `$kind`, for a gated one that of the gate.
macro_rules! of_kind {
    ($kind:expr, $rows:ident($($argument:expr),*)) => {
        match $kind {
            Activation::Gelu | Activation::GeGlu => $rows($($argument,)* gelu::<FMA>),
            Activation::GeluTanh => $rows($($argument,)* gelu_tanh::<FMA>),
            Activation::Silu | Activation::SwiGlu => $rows($($argument,)* silu::<FMA>),
            Activation::Elu => $rows($($argument,)* elu::<FMA>),
            Activation::Relu => $rows($($argument,)* relu),
        }
    };
}

#[inline(always)]
fn values(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x).0;
    }
}

#[inline(always)]
fn slopes(x: &[f32], dy: &[f32], dx: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = dy * f(x).1;
    }
}

#[inline(always)]
fn forward_body<const FMA: bool>(kind: Activation, x: &[f32], y: &mut [f32]) {
    of_kind!(kind, values(x, y));
}

#[inline(always)]
fn backward_body<const FMA: bool>(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    of_kind!(kind, slopes(x, dy, dx));
}

#[inline(always)]
fn gated_values(u: &[f32], y: &mut [f32], width: usize, f: impl Fn(f32) -> (f32, f32)) {
    for (u, y) in u.chunks_exact(2 * width).zip(y.chunks_exact_mut(width)) {
        let (gate, up) = u.split_at(width);
        for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
            *y = f(gate).0 * up;
        }
    }
}

#[inline(always)]
fn gated_body<const FMA: bool>(kind: Activation, u: &[f32], y: &mut [f32], width: usize) {
    of_kind!(kind, gated_values(u, y, width));
}

#[inline(always)]
fn gated_slopes(u: &[f32], dy: &[f32], du: &mut [f32], width: usize, f: impl Fn(f32) -> (f32, f32)) {
    for ((u, du), dy) in u.chunks_exact(2 * width).zip(du.chunks_exact_mut(2 * width)).zip(dy.chunks_exact(width)) {
        let ((gate, up), (dgate, dup)) = (u.split_at(width), du.split_at_mut(width));
        for ((((&gate, &up), &dy), dgate), dup) in gate.iter().zip(up).zip(dy).zip(dgate.iter_mut()).zip(dup.iter_mut())
        {
            let (value, slope) = f(gate);
            *dgate = dy * up * slope;
            *dup = dy * value;
        }
    }
}

#[inline(always)]
fn gated_backward_body<const FMA: bool>(kind: Activation, u: &[f32], dy: &[f32], du: &mut [f32], width: usize) {
    of_kind!(kind, gated_slopes(u, dy, du, width));
}

#[inline(always)]
fn with_bias_body<const FMA: bool>(kind: Activation, u: &mut [f32], bias: &[f32], y: &mut [f32]) {
    if !bias.is_empty() {
        for u in u.chunks_exact_mut(bias.len()) {
            for (u, &bias) in u.iter_mut().zip(bias) {
                *u += bias;
            }
        }
    }
    if kind.gated() {
        let width = y.len();
        of_kind!(kind, gated_values(u, y, width));
    } else {
        of_kind!(kind, values(u, y));
    }
}

#[inline(always)]
fn both(u: &[f32], dy: &[f32], du: &mut [f32], y: &mut [f32], sums: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    let width = sums.len();
    let rows = u.chunks_exact(width).zip(dy.chunks_exact(width));
    for ((u, dy), (du, y)) in rows.zip(du.chunks_exact_mut(width).zip(y.chunks_exact_mut(width))) {
        for ((((&u, &dy), du), y), sum) in u.iter().zip(dy).zip(du.iter_mut()).zip(y.iter_mut()).zip(sums.iter_mut()) {
            let (value, slope) = f(u);
            *y = value;
            *du = dy * slope;
            *sum += *du;
        }
    }
}

#[inline(always)]
fn both_gated(u: &[f32], dy: &[f32], du: &mut [f32], y: &mut [f32], sums: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    let width = sums.len() / 2;
    let (gate_sums, up_sums) = sums.split_at_mut(width);
    let rows = u.chunks_exact(2 * width).zip(dy.chunks_exact(width));
    for ((u, dy), (du, y)) in rows.zip(du.chunks_exact_mut(2 * width).zip(y.chunks_exact_mut(width))) {
        let ((gate, up), (dgate, dup)) = (u.split_at(width), du.split_at_mut(width));
        let inputs = gate.iter().zip(up).zip(dy);
        let outputs = dgate.iter_mut().zip(dup).zip(y.iter_mut());
        for ((((&gate, &up), &dy), ((dgate, dup), y)), (gate_sum, up_sum)) in
            inputs.zip(outputs).zip(gate_sums.iter_mut().zip(up_sums.iter_mut()))
        {
            let (value, slope) = f(gate);
            *y = value * up;
            *dgate = dy * up * slope;
            *dup = dy * value;
            *gate_sum += *dgate;
            *up_sum += *dup;
        }
    }
}

#[inline(always)]
fn backward_rows_body<const FMA: bool>(
    kind: Activation,
    u: &[f32],
    dy: &[f32],
    du: &mut [f32],
    y: &mut [f32],
    sums: &mut [f32],
) {
    if kind.gated() {
        of_kind!(kind, both_gated(u, dy, du, y, sums));
    } else {
        of_kind!(kind, both(u, dy, du, y, sums));
    }
}

dispatched! {
    fn forward_chunk(kind: Activation, x: &[f32], y: &mut [f32]) = forward_body
}

dispatched! {
    fn backward_chunk(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) = backward_body
}

dispatched! {
    fn gated_chunk(kind: Activation, u: &[f32], y: &mut [f32], width: usize) = gated_body
}

dispatched! {
    fn gated_backward_chunk(kind: Activation, u: &[f32], dy: &[f32], du: &mut [f32], width: usize) = gated_backward_body
}

dispatched! {
    fn with_bias_row(kind: Activation, u: &mut [f32], bias: &[f32], y: &mut [f32]) = with_bias_body
}

dispatched! {
    fn both_rows(kind: Activation, u: &[f32], dy: &[f32], du: &mut [f32], y: &mut [f32], sums: &mut [f32])
        = backward_rows_body
}

/// `u += bias` (unless that is empty), then `y = f(u)`, for rows of `u` that have `inputs` values; on this thread.
pub(in crate::ops) fn forward_rows(kind: Activation, inputs: usize, u: &mut [f32], bias: &[f32], y: &mut [f32]) {
    let outputs = kind.outputs(inputs);
    for (u, y) in u.chunks_exact_mut(inputs).zip(y.chunks_exact_mut(outputs)) {
        with_bias_row(kind, u, bias, y);
    }
}

/// From `u` and the gradient `dy` of `y = f(u)`: `du`, `y` once more, and the columns of `du` added to `sums`, whose length
/// is that of a row of `u`; on this thread.
pub(in crate::ops) fn backward_rows(
    kind: Activation,
    u: &[f32],
    dy: &[f32],
    du: &mut [f32],
    y: &mut [f32],
    sums: &mut [f32],
) {
    both_rows(kind, u, dy, du, y, sums);
}
