//! What the tests of every operation share: a plain twin in f64, central differences, threads.

use candle_core::{Device, Result, Tensor, Var};

/// Values of a tensor in any layout, as f64.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

/// Values in `[-1, 1]` that look random, the same on every machine.
pub(super) fn filled(shape: &[usize], seed: u32) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Fails unless `|got - expected| <= tolerance (1 + |expected|)` throughout.
pub(super) fn assert_close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what} {i}: {got}, not {expected}");
    }
}

/// Values of `op` and gradients of its inputs, for the loss `Σ c y` with uneven `c`.
pub(super) fn run(inputs: &[Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<(Tensor, Vec<Tensor>)> {
    let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = op(&tensors)?;
    let grads = (&out * &filled(out.dims(), 99)?)?.sum_all()?.backward()?;
    let gradient = |var: &Var| grads.get(var).cloned().map_or_else(|| var.zeros_like(), Ok);
    Ok((out, vars.iter().map(gradient).collect::<Result<_>>()?))
}

/// Fails unless `op` equals its f64 `twin`, and its gradients equal central differences of the
/// twin (at up to 60 elements of each input).
pub(super) fn assert_like_twin(
    inputs: &[Tensor],
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
    twin: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    tolerance: f64,
) -> Result<()> {
    let (out, gradients) = run(inputs, op)?;
    let weights = numbers(&filled(out.dims(), 99)?)?;
    let mut values = inputs.iter().map(numbers).collect::<Result<Vec<_>>>()?;
    assert_close("value", &numbers(&out)?, &twin(&values), tolerance);
    let loss = |values: &[Vec<f64>]| -> f64 { twin(values).iter().zip(&weights).map(|(y, c)| y * c).sum() };
    for (input, gradient) in gradients.iter().enumerate() {
        let gradient = numbers(gradient)?;
        for i in (0..gradient.len()).step_by(gradient.len().div_ceil(60).max(1)) {
            let (centre, step) = (values[input][i], 1e-5);
            values[input][i] = centre + step;
            let above = loss(&values);
            values[input][i] = centre - step;
            let below = loss(&values);
            values[input][i] = centre;
            let expected = (above - below) / (2.0 * step);
            assert_close(&format!("gradient of input {input} at {i}"), &[gradient[i]], &[expected], tolerance);
        }
    }
    Ok(())
}

/// Fails unless two ways to say the same agree in values and gradients.
pub(super) fn assert_same(
    inputs: &[Tensor],
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    tolerance: f64,
) -> Result<()> {
    let ((a, da), (b, db)) = (run(inputs, op)?, run(inputs, plain)?);
    assert_eq!(a.dims(), b.dims());
    assert_close("value", &numbers(&a)?, &numbers(&b)?, tolerance);
    for (i, (a, b)) in da.iter().zip(&db).enumerate() {
        assert_close(&format!("gradient of input {i}"), &numbers(a)?, &numbers(b)?, tolerance);
    }
    Ok(())
}

/// Fails unless values and gradients are the same to the last bit on 1, 2 and 4 threads.
pub(super) fn assert_same_on_any_threads(
    inputs: &[Tensor],
    op: impl Fn(&[Tensor]) -> Result<Tensor> + Sync,
) -> Result<()> {
    let on = |threads| -> Result<Vec<Vec<u32>>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(candle_core::Error::wrap)?;
        let (out, gradients) = pool.install(|| run(inputs, &op))?;
        let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
            Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
        };
        std::iter::once(&out).chain(&gradients).map(bits).collect()
    };
    let one = on(1)?;
    assert!(one == on(2)? && one == on(4)?, "threads change the result");
    Ok(())
}
