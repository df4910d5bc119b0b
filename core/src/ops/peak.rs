//! What the machine gives on matrix products alone: what a training step can be compared with.

use super::product::{Matrix, Onto, product};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Rows and columns of the matrices: large enough for full speed, small enough for many rounds.
const SIZE: usize = 768;

/// Floating-point operations per second of f32 matrix products on all threads, measured for about `time`; the best of
/// several rounds, since other work on the machine can only slow it down.
#[must_use]
pub fn product_peak(time: Duration) -> f64 {
    let threads = rayon::current_num_threads();
    let mut memory: Vec<[Vec<f32>; 3]> = (0..threads).map(|_| [1.0, 0.5, 0.0].map(|v| vec![v; SIZE * SIZE])).collect();
    let start = Instant::now();
    let mut best = 0.0_f64;
    // The first round warms up.
    for round in 0.. {
        let before = Instant::now();
        memory.par_iter_mut().with_max_len(1).for_each(|[a, b, out]| {
            product(out, Matrix::row_major(a, SIZE), Matrix::row_major(b, SIZE), 1.0, Onto::Nothing);
        });
        let flops = 2.0 * (SIZE * SIZE * SIZE * threads) as f64 / before.elapsed().as_secs_f64();
        best = if round == 0 { 0.0 } else { best.max(flops) };
        if round > 2 && start.elapsed() > time {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_that_machines_have() {
        let peak = product_peak(Duration::from_millis(1));
        assert!(peak > 1e6 && peak < 1e16, "{peak}");
    }
}
