//! Sines and cosines on slices, chunks of coordinates as tasks.

use crate::ops::simd::{dispatched, fma, largest, sum_pairs};
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// Largest angle for which three subtractions reduce it exactly.
const LARGEST: f32 = 1e5;

/// `waves = [sin(x f), cos(x f)]` per coordinate.
pub(super) fn forward(x: &[f32], frequencies: &[f32], waves: &mut [f32]) {
    if waves.is_empty() {
        return;
    }
    let width = 2 * frequencies.len();
    let chunk = light_rows(x.len(), width);
    waves
        .par_chunks_mut(chunk * width)
        .zip(x.par_chunks(chunk))
        .for_each(|(waves, x)| forward_rows(x, frequencies, waves));
}

/// `dx = Σ f (ds cos - dc sin)`, from the waves as they were given.
pub(super) fn backward(waves: &[f32], grad: &[f32], frequencies: &[f32], dx: &mut [f32]) {
    if waves.is_empty() {
        return;
    }
    let width = 2 * frequencies.len();
    let chunk = light_rows(dx.len(), width);
    dx.par_chunks_mut(chunk)
        .zip(waves.par_chunks(chunk * width).zip(grad.par_chunks(chunk * width)))
        .for_each(|(dx, (waves, grad))| backward_rows(waves, grad, frequencies, dx));
}

/// Sine and cosine, absolute error below 1.2e-7, for `|angle| <= LARGEST`.
///
/// Reduction after Cody and Waite 1980: `angle - n π/2` with π/2 in four parts. `n` has at most 16
/// bits and the first three parts 8 bits each, so that their products are exact with or without a
/// fused multiplication. Polynomials: Cephes `sinf`, `cosf` (Moshier 1989), for `|r| <= π/4`.
#[inline(always)]
fn sin_cos<const FMA: bool>(angle: f32) -> (f32, f32) {
    // Adding this rounds to a whole number, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const PARTS: [f32; 4] = [1.570_312_5, 4.825_592e-4, 1.266_598_7e-6, 9.920_936e-10];
    let rounded = fma::<FMA>(angle, std::f32::consts::FRAC_2_PI, ROUND);
    let quadrant = rounded.to_bits();
    let n = rounded - ROUND;
    let mut r = angle;
    for part in PARTS {
        r = fma::<FMA>(n, -part, r);
    }
    let z = r * r;
    let p = fma::<FMA>(fma::<FMA>(-1.951_529_6e-4, z, 8.332_161e-3), z, -1.666_665_5e-1);
    let sine = fma::<FMA>(p * z, r, r);
    let p = fma::<FMA>(fma::<FMA>(2.443_315_7e-5, z, -1.388_731_6e-3), z, 4.166_664_6e-2);
    let cosine = fma::<FMA>(p * z, z, fma::<FMA>(-0.5, z, 1.0));
    let (s, c) = if quadrant & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    // The sine is negative in quadrants 2 and 3, the cosine in 1 and 2.
    let sign_of_sine = (quadrant & 2) << 30;
    let sign_of_cosine = (quadrant.wrapping_add(1) & 2) << 30;
    (f32::from_bits(s.to_bits() ^ sign_of_sine), f32::from_bits(c.to_bits() ^ sign_of_cosine))
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], frequencies: &[f32], waves: &mut [f32]) {
    let count = frequencies.len();
    // No angle is larger than that of the largest frequency. NaN isn't passed over in the comparison below.
    let most = largest(frequencies).max(-frequencies.iter().fold(f32::INFINITY, |least, &f| least.min(f)));
    for (&x, waves) in x.iter().zip(waves.chunks_exact_mut(2 * count)) {
        let (sines, cosines) = waves.split_at_mut(count);
        if (x * most).abs() <= LARGEST {
            for ((&f, s), c) in frequencies.iter().zip(sines).zip(cosines) {
                (*s, *c) = sin_cos::<FMA>(x * f);
            }
        } else {
            for ((&f, s), c) in frequencies.iter().zip(sines).zip(cosines) {
                let (sine, cosine) = f64::from(x * f).sin_cos();
                (*s, *c) = (sine as f32, cosine as f32);
            }
        }
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(waves: &[f32], grad: &[f32], frequencies: &[f32], dx: &mut [f32]) {
    let count = frequencies.len();
    let mut slopes = vec![0.0; count];
    for ((dx, waves), grad) in dx.iter_mut().zip(waves.chunks_exact(2 * count)).zip(grad.chunks_exact(2 * count)) {
        let ((sines, cosines), (of_sines, of_cosines)) = (waves.split_at(count), grad.split_at(count));
        for ((((slope, s), c), ds), dc) in slopes.iter_mut().zip(sines).zip(cosines).zip(of_sines).zip(of_cosines) {
            *slope = fma::<FMA>(*ds, *c, -dc * s);
        }
        *dx = sum_pairs(&slopes, frequencies, |slope, f| slope * f);
    }
}

dispatched! {
    fn forward_rows(x: &[f32], frequencies: &[f32], waves: &mut [f32]) = forward_body
}

dispatched! {
    fn backward_rows(waves: &[f32], grad: &[f32], frequencies: &[f32], dx: &mut [f32]) = backward_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_and_cosines_are_right_to_the_stated_error_up_to_the_largest_angle() {
        let mut worst = 0.0_f64;
        // Angles of all sizes, and the floats around multiples of π/4, where reduction loses most.
        let spread = (0..400_000_u32).map(|i| (i as f32 - 200_000.0) * 0.5).chain((0..2000).map(|i| i as f32 * 1e-3));
        let corners = (0..127_000_u32).flat_map(|i| {
            let corner = (f64::from(i) * std::f64::consts::FRAC_PI_4) as f32;
            [corner.next_down(), corner, corner.next_up()]
        });
        for angle in spread.chain(corners).chain([1e-40, -0.0, LARGEST, -LARGEST]) {
            let exact = f64::from(angle).sin_cos();
            for (s, c) in [sin_cos::<true>(angle), sin_cos::<false>(angle)] {
                worst = worst.max((f64::from(s) - exact.0).abs()).max((f64::from(c) - exact.1).abs());
            }
        }
        assert!(worst < 1.2e-7, "{worst}");
    }
}
