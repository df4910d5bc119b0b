//! Minimum of a smooth convex function, in f64.
//!
//! Source: Nocedal & Wright 2006, algorithms 7.4 and 7.5, with backtracking (3.1).

use std::collections::VecDeque;

/// Steps that the curvature is estimated from.
const MEMORY: usize = 20;

/// Where the search ended.
pub(crate) struct Minimum {
    pub(crate) at: Vec<f64>,
    /// Whether every component of the gradient is below the tolerance.
    pub(crate) converged: bool,
}

/// When the search ends.
#[derive(Clone, Copy)]
pub(crate) struct Stop {
    /// Largest component of the gradient.
    pub(crate) gradient: f64,
    pub(crate) iterations: usize,
}

/// Searches from `start` along `function`, which gives value and gradient.
pub(crate) fn minimise(start: Vec<f64>, stop: Stop, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Minimum {
    let mut at = start;
    let (mut value, mut gradient) = function(&at);
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..stop.iterations {
        let steepest = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        if steepest <= stop.gradient {
            return Minimum { at, converged: true };
        }
        let mut direction = direction(&gradient, &memory);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding spoiled the memory: begin again with the gradient alone.
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let mut length = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let accepted = (0..60).find_map(|_| {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let (next_value, next_gradient) = function(&next);
            // The last term lets steps pass whose gain is lost in rounding: near the minimum the
            // gradient still has digits when the value has none.
            let enough = value + 1e-4 * length * slope + 1e-15 * value.abs();
            length *= 0.5;
            (next_value <= enough).then_some((next, next_value, next_gradient))
        });
        let Some((next, next_value, next_gradient)) = accepted else {
            return Minimum { at, converged: false };
        };
        let step: Vec<f64> = next.iter().zip(&at).map(|(n, x)| n - x).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
        let curvature = dot(&step, &change);
        if curvature > 0.0 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((step, change, 1.0 / curvature));
        }
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    Minimum { at, converged: false }
}

/// Minus the estimated inverse curvature times the gradient: the two loops of algorithm 7.4.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for (step, change, rho) in memory.iter().rev() {
        let alpha = rho * dot(step, &q);
        add(&mut q, -alpha, change);
        alphas.push(alpha);
    }
    if let Some((_, change, rho)) = memory.back() {
        let scale = 1.0 / (rho * dot(change, change));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((step, change, rho), alpha) in memory.iter().zip(alphas.iter().rev()) {
        let beta = rho * dot(change, &q);
        add(&mut q, alpha - beta, step);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(onto: &mut [f64], factor: f64, x: &[f64]) {
    for (onto, x) in onto.iter_mut().zip(x) {
        *onto += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_steep_bowl_is_found() {
        // Σ s_i (x_i - i)² / 2 with s from 1 to 1e4, minimum at x_i = i.
        let steepness = |i: usize| 10f64.powi(i as i32 % 5);
        let bowl = |x: &[f64]| {
            let gradient: Vec<f64> = x.iter().enumerate().map(|(i, x)| steepness(i) * (x - i as f64)).collect();
            (x.iter().enumerate().map(|(i, x)| steepness(i) * (x - i as f64).powi(2) / 2.0).sum(), gradient)
        };
        let minimum = minimise(vec![0.0; 10], Stop { gradient: 1e-9, iterations: 200 }, bowl);
        assert!(minimum.converged);
        for (i, x) in minimum.at.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-8, "{x} is not {i}");
        }
    }

    #[test]
    fn a_search_that_is_cut_short_says_so() {
        let line = |x: &[f64]| (x[0], vec![1.0]);
        assert!(!minimise(vec![0.0], Stop { gradient: 1e-9, iterations: 5 }, line).converged);
    }
}
