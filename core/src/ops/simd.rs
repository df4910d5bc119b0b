//! Loops that use the widest vectors of the processor at hand.
//!
//! Kernels are plain Rust loops which the compiler vectorises; [`dispatched!`] compiles each one
//! three times (AVX-512, AVX2 with FMA, whatever the target has) and picks one when called, so that
//! one binary is fast everywhere. Sums keep explicit lanes: the compiler may not reorder them.
//! Polynomials replace the mathematical library's functions, which don't vectorise and take 20
//! times as long.

#![expect(clippy::excessive_precision, reason = "coefficients as they were published")]

/// What the processor at hand offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// 16 f32 at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 f32 at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the target was compiled for.
    Baseline,
}

/// The best level here; the standard library remembers what it found.
pub(super) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            return if wide { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Baseline
}

/// Whether `mul_add` is one instruction at the baseline. Where it isn't, it calls the mathematical
/// library and is slow: kernels then multiply and add.
pub(super) const BASELINE_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Makes `fn NAME(arguments)` that calls the `#[inline(always)]` function BODY, which is generic in
/// `const FMA: bool`, compiled for the level of the processor.
macro_rules! dispatched {
    ($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$attribute])*
        pub(super) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
                fn with_avx512($($argument: $type),*) {
                    $body::<true>($($argument),*);
                }
                #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
                fn with_avx2($($argument: $type),*) {
                    $body::<true>($($argument),*);
                }
                match $crate::ops::simd::level() {
                    // SAFETY: `level` found every feature that `with_avx512` enables.
                    $crate::ops::simd::Level::Avx512 => return unsafe { with_avx512($($argument),*) },
                    // SAFETY: `level` found every feature that `with_avx2` enables.
                    $crate::ops::simd::Level::Avx2 => return unsafe { with_avx2($($argument),*) },
                    $crate::ops::simd::Level::Baseline => {}
                }
            }
            $body::<{ $crate::ops::simd::BASELINE_FMA }>($($argument),*);
        }
    };
}
pub(super) use dispatched;

/// `a b + c`.
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Lanes of a sum: two registers of the widest kind, so that additions overlap.
const LANES: usize = 32;

/// Sum of `f` over pairs of values, in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum_pairs(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y)).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    rest + lanes[0]
}

/// Sum of `f` over values, in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    sum_pairs(x, x, |x, _| f(x))
}

/// Largest value; NaN are passed over.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &value| if value > most { value } else { most })
}

/// `exp(x)` as `2^n (1 + q)`: the power of two and `q`, for `x` in [-87.3, 88.3].
///
/// Source: Cephes `expf` (Moshier 1989): a polynomial of degree 6 on `|r| <= ln 2 / 2`.
#[inline(always)]
fn exp_parts<const FMA: bool>(x: f32) -> (f32, f32) {
    // Adding this rounds to a whole number, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let rounded = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let power = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let n = rounded - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_375, x));
    let mut p = 1.987_569_1e-4_f32;
    for c in [1.398_199_9e-3_f32, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1] {
        p = fma::<FMA>(p, r, c);
    }
    (f32::from_bits((power.wrapping_add(127) << 23) as u32), fma::<FMA>(p * r, r, r))
}

/// `exp(x) - 1` for `x` of at most 88.3, relative error below 3e-7, also near 0.
#[inline(always)]
pub(super) fn exp_m1<const FMA: bool>(x: f32) -> f32 {
    let (power, q) = exp_parts::<FMA>(if x < LEAST_EXPONENT { LEAST_EXPONENT } else { x });
    fma::<FMA>(power, q, power - 1.0)
}

/// Below it f32 loses digits of the exponential.
const LEAST_EXPONENT: f32 = -87.3;

/// `exp(x)`, relative error below 2e-7; 0 below -87.3, where f32 loses digits.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    let most = if x > 88.3 { 88.3 } else { x };
    let (power, q) = exp_parts::<FMA>(if most < LEAST_EXPONENT { LEAST_EXPONENT } else { most });
    let value = (q + 1.0) * power;
    if x < LEAST_EXPONENT { 0.0 } else { value }
}

/// The standard normal distribution function `Φ(x)`, relative error below 2e-6 down to where it
/// underflows: the left tail isn't 1 minus something.
///
/// Source: `Φ(-a) = erfc(a / √2) / 2` with the Chebyshev fit of `erfc` in Press et al., Numerical
/// Recipes, §6.2 (fractional error below 1.2e-7).
#[inline(always)]
pub(super) fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(0.5, z, 1.0);
    let mut p = 0.170_872_77_f32;
    for c in [
        -0.822_152_23_f32,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ] {
        p = fma::<FMA>(p, t, c);
    }
    let tail = 0.5 * t * exp::<FMA>(fma::<FMA>(-0.5 * x, x, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `tanh(x)`, relative error below 3e-7.
///
/// Source: Cephes `tanhf` (Moshier 1989): a polynomial below 0.625, else `1 - 2 / (exp(2 |x|) + 1)`.
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut p = -5.704_988_7e-3_f32;
    for c in [2.063_908_8e-2_f32, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328_1e-1] {
        p = fma::<FMA>(p, square, c);
    }
    let near = fma::<FMA>(p * square, x, x);
    let far = (1.0 - 2.0 / (exp::<FMA>(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

#[inline(always)]
fn add_rows_body<const FMA: bool>(sums: &mut [f32], rows: &[f32]) {
    if sums.is_empty() {
        return;
    }
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

dispatched! {
    /// Adds every row to `sums`, in order.
    fn add_rows(sums: &mut [f32], rows: &[f32]) = add_rows_body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_relative(from: f32, to: f32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let steps = 20_000;
        (0..=steps)
            .map(|i| from + (to - from) * i as f32 / steps as f32)
            .map(|x| (f64::from(f(x)) / exact(f64::from(x)) - 1.0).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_exact_to_rounding_at_both_levels() {
        assert!(worst_relative(-87.0, 88.0, exp::<true>, f64::exp) < 2e-7);
        assert!(worst_relative(-87.0, 88.0, exp::<false>, f64::exp) < 2e-7);
        assert_eq!((exp::<false>(f32::NEG_INFINITY), exp::<false>(0.0)), (0.0, 1.0));
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn exp_less_one_is_exact_to_rounding() {
        for (from, to) in [(-87.0, -0.3), (-0.4, -1e-6), (1e-6, 0.4), (0.3, 88.0)] {
            assert!(worst_relative(from, to, exp_m1::<true>, f64::exp_m1) < 3e-7);
            assert!(worst_relative(from, to, exp_m1::<false>, f64::exp_m1) < 3e-7);
        }
        assert_eq!((exp_m1::<false>(f32::NEG_INFINITY), exp_m1::<false>(0.0)), (-1.0, 0.0));
    }

    #[test]
    fn tanh_is_exact_to_rounding() {
        for (from, to) in [(-20.0, -0.62), (-0.63, -1e-6), (1e-6, 0.63), (0.62, 20.0)] {
            assert!(worst_relative(from, to, tanh::<true>, f64::tanh) < 3e-7);
            assert!(worst_relative(from, to, tanh::<false>, f64::tanh) < 3e-7);
        }
        assert_eq!([0.0, 1e30, -1e30].map(tanh::<false>), [0.0, 1.0, -1.0]);
        assert!(tanh::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_tail_keeps_its_digits() {
        let exact = |x: f64| 0.5 * (1.0 - candle_core::cpu::erf::erf_f64(-x * std::f64::consts::FRAC_1_SQRT_2));
        assert!(worst_relative(-3.0, 3.0, normal_cdf::<true>, exact) < 1e-6);
        assert!(worst_relative(-3.0, 3.0, normal_cdf::<false>, exact) < 1e-6);
        // Φ(-6) and Φ(-10), Abramowitz and Stegun, table 26.1 and 26.2.
        assert!((f64::from(normal_cdf::<false>(-6.0)) / 9.865_876_450_376_98e-10 - 1.0).abs() < 5e-6);
        assert!((f64::from(normal_cdf::<false>(-10.0)) / 7.619_853_024_160_5e-24 - 1.0).abs() < 2e-5);
    }

    #[test]
    fn sums_take_every_value_once() {
        for n in [0, 1, 31, 32, 33, 100] {
            let x: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(sum(&x, |x| x), (n * (n + 1) / 2) as f32);
            assert_eq!(largest(&x), if n == 0 { f32::NEG_INFINITY } else { n as f32 });
        }
    }
}
