//! Attention against a naive loop, finite differences, and itself on other strides and threads.

use super::{BlockMask, Mask, attention, cross_attention, self_attention};
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run};
use candle_core::{D, DType, Device, Result, Tensor};

fn qkv(batch: usize, heads: usize, queries: usize, keys: usize, width: usize) -> Result<Vec<Tensor>> {
    let k = [batch, heads, keys, width];
    Ok(vec![filled(&[batch, heads, queries, width], 1)?, filled(&k, 2)?, filled(&k, 3)?])
}

fn mask(rows: &[&[u8]]) -> Result<Tensor> {
    Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu)
}

/// Plain loops; `valid` per object and key.
fn naive(v: &[Vec<f64>], heads: usize, keys: usize, width: usize, valid: &[u8]) -> Vec<f64> {
    let batch = v[1].len() / (heads * keys * width);
    let queries = v[0].len() / (batch * heads * width);
    let mut out = Vec::new();
    for head in 0..batch * heads {
        let row = |values: &[f64], tokens: usize, t: usize| -> Vec<f64> {
            values[(head * tokens + t) * width..][..width].to_vec()
        };
        let allowed: Vec<usize> = (0..keys).filter(|t| valid.get(head / heads * keys + t) != Some(&0)).collect();
        for query in 0..queries {
            let q = row(&v[0], queries, query);
            let score = |&t: &usize| -> f64 {
                q.iter().zip(row(&v[1], keys, t)).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt()
            };
            let most = allowed.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = allowed.iter().map(|t| (score(t) - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut sum = vec![0.0; width];
            for (&t, weight) in allowed.iter().zip(&weights) {
                for (sum, v) in sum.iter_mut().zip(row(&v[2], keys, t)) {
                    *sum += weight / total * v;
                }
            }
            out.extend(sum);
        }
    }
    out
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (batch, heads, queries, keys, width) in
        [(1, 1, 1, 1, 1), (2, 3, 4, 5, 1), (2, 2, 1, 7, 3), (1, 2, 9, 1, 4), (1, 1, 127, 129, 2), (1, 1, 300, 20, 3)]
    {
        assert_like_twin(
            &qkv(batch, heads, queries, keys, width)?,
            |t| attention(&t[0], &t[1], &t[2], None, &Mask::Full),
            |v| naive(v, heads, keys, width, &[]),
            2e-5,
        )?;
    }
    Ok(())
}

#[test]
fn invalid_keys_get_no_weight() -> Result<()> {
    // Padding at the end, holes, none valid, all valid.
    let valid = mask(&[&[1, 1, 1, 0, 0], &[0, 1, 0, 1, 0], &[0; 5], &[1; 5]])?;
    let flags = valid.flatten_all()?.to_vec1::<u8>()?;
    assert_like_twin(
        &qkv(4, 2, 3, 5, 4)?,
        |t| attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full),
        |v| naive(v, 2, 5, 4, &flags),
        2e-5,
    )
}

#[test]
fn without_a_valid_key_all_is_zero() -> Result<()> {
    let valid = mask(&[&[0, 0, 0]])?;
    let (out, gradients) = run(&qkv(1, 2, 4, 3, 2)?, |t| attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full))?;
    for tensor in std::iter::once(&out).chain(&gradients) {
        assert!(numbers(tensor)?.iter().all(|&value| value == 0.0));
    }
    Ok(())
}

#[test]
fn what_invalid_keys_hold_changes_nothing() -> Result<()> {
    let valid = mask(&[&[1, 0, 1, 0]])?;
    let clean = qkv(1, 1, 3, 4, 2)?;
    let holes = Tensor::new(&[[0.0_f32], [f32::NAN], [0.0], [f32::INFINITY]], &Device::Cpu)?.reshape((1, 1, 4, 1))?;
    let dirty = vec![clean[0].clone(), clean[1].broadcast_add(&holes)?, clean[2].broadcast_add(&holes)?];
    let op = |t: &[Tensor]| attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full);
    let ((a, da), (b, db)) = (run(&clean, op)?, run(&dirty, op)?);
    assert_eq!(numbers(&a)?, numbers(&b)?);
    for (a, b) in da.iter().zip(&db) {
        assert_eq!(numbers(a)?, numbers(b)?);
    }
    Ok(())
}

#[test]
fn strided_views_equal_plain_candle() -> Result<()> {
    // Queries, keys and values as a trunk has them: one tensor, tokens before heads.
    let views = |t: &[Tensor]| -> Result<Vec<Tensor>> {
        (0..3).map(|i| t[0].narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)).collect()
    };
    let ours = |t: &[Tensor]| {
        let v = views(t)?;
        attention(&v[0], &v[1], &v[2], None, &Mask::Full)
    };
    let plain = |t: &[Tensor]| {
        let v = views(t)?.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        let scores = (v[0].matmul(&v[1].t()?)? / 8_f64.sqrt())?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?.matmul(&v[2])
    };
    assert_same(&[filled(&[2, 65, 3, 2, 8], 1)?], ours, plain, 1e-5)
}

#[test]
fn masks_equal_a_mask_of_scores() -> Result<()> {
    let blocks = BlockMask::new(3, &[vec![true, false, true], vec![false, false, false], vec![true, true, false]])?;
    for (queries, keys) in [(9, 9), (4, 9), (9, 4), (300, 300), (1, 1)] {
        for mask in [Mask::Causal, Mask::Blocks(blocks.clone()), Mask::Uniform] {
            let sees = |query: usize, key: usize| match &mask {
                Mask::Causal => key + queries <= query + keys,
                Mask::Uniform => true,
                _ => {
                    let (row, column) = (query / 3, key / 3);
                    row < 3 && column < 3 && [[1, 0, 1], [0, 0, 0], [1, 1, 0]][row][column] == 1
                }
            };
            for valid in [None, Some((0..keys).map(|key| u8::from(key % 4 != 1)).collect::<Vec<u8>>())] {
                let allowed =
                    |query: usize, key: usize| sees(query, key) && valid.as_ref().is_none_or(|valid| valid[key] != 0);
                let bias: Vec<f32> =
                    (0..queries * keys).map(|at| if allowed(at / keys, at % keys) { 0.0 } else { -1e30 }).collect();
                let seen: Vec<f32> = bias.iter().map(|bias| f32::from(*bias == 0.0)).collect();
                let bias = Tensor::from_vec(bias, (1, 1, queries, keys), &Device::Cpu)?;
                let seen = Tensor::from_vec(seen, (1, 1, queries, keys), &Device::Cpu)?;
                let scale = if matches!(mask, Mask::Uniform) { 0.0 } else { 3_f64.sqrt().recip() };
                let empty = (1.0 - seen.max_keepdim(D::Minus1)?)?;
                let plain = |t: &[Tensor]| {
                    let scores = (t[0].matmul(&t[1].t()?)? * scale)?.broadcast_add(&bias)?;
                    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
                    let weights = weights.broadcast_mul(&seen)?;
                    let sum = weights.sum_keepdim(D::Minus1)?.broadcast_add(&empty)?;
                    weights.broadcast_div(&sum)?.matmul(&t[2])
                };
                let valid = valid.map(|valid| Tensor::from_vec(valid, (1, keys), &Device::Cpu)).transpose()?;
                let inputs = qkv(1, 2, queries, keys, 3)?;
                assert_same(&inputs, |t| attention(&t[0], &t[1], &t[2], valid.as_ref(), &mask), plain, 1e-5)?;
            }
        }
    }
    assert!(BlockMask::new(0, &[]).is_err() && BlockMask::new(1, &[vec![true], vec![]]).is_err());
    Ok(())
}

#[test]
fn large_scores_pick_the_largest() -> Result<()> {
    // Scores 1e4 and -1e4: all weight on the first key.
    let q = Tensor::new(&[[[[100.0_f32]]]], &Device::Cpu)?;
    let k = Tensor::new(&[[[[100.0_f32], [-100.0]]]], &Device::Cpu)?;
    let v = Tensor::new(&[[[[3.0_f32], [5.0]]]], &Device::Cpu)?;
    let (out, gradients) = run(&[q, k, v], |t| attention(&t[0], &t[1], &t[2], None, &Mask::Full))?;
    assert_eq!(numbers(&out)?, [3.0]);
    assert_eq!(numbers(&gradients[0])?, [0.0]);
    assert_eq!(numbers(&gradients[1])?, [0.0, 0.0]);
    assert_eq!(numbers(&gradients[2])?[1], 0.0);
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let row: Vec<u8> = (0..70).map(|i| u8::from(i % 5 != 2)).collect();
    let valid = mask(&[&row, &[1; 70], &[0; 70]])?;
    assert_same_on_any_threads(&qkv(3, 3, 300, 70, 5)?, |t| attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full))
}

#[test]
fn no_tokens_give_no_tokens() -> Result<()> {
    let (out, _) = run(&qkv(2, 1, 0, 3, 2)?, |t| attention(&t[0], &t[1], &t[2], None, &Mask::Full))?;
    assert_eq!(out.dims(), [2, 1, 0, 2]);
    let valid = Tensor::zeros((2, 0), DType::U8, &Device::Cpu)?;
    let (out, _) = run(&qkv(2, 1, 3, 0, 2)?, |t| attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full))?;
    assert_eq!(numbers(&out)?, [0.0; 12]);
    Ok(())
}

#[test]
fn wrong_shapes_and_types_are_named() -> Result<()> {
    let t = qkv(2, 1, 3, 4, 2)?;
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let got = message(attention(&t[0], &t[1], &t[0], None, &Mask::Full));
    assert!(got.contains("attention: expected `v` of shape [2, 1, 4, 2], got [2, 1, 3, 2]"), "{got}");
    let got = message(attention(&t[0], &t[1], &t[2], Some(&mask(&[&[1, 1, 1]])?), &Mask::Full));
    assert!(got.contains("attention: expected `valid` of shape [2, 4], got [1, 3]"), "{got}");
    let valid = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
    let got = message(attention(&t[0], &t[1], &t[2], Some(&valid), &Mask::Full));
    assert!(got.contains("attention: expected `valid` in u8, got f32"), "{got}");
    Ok(())
}

/// `[B, T, D]` -> `[B, H, T, D / H]`.
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    x.reshape((batch, tokens, heads, width / heads))?.transpose(1, 2)
}

/// `[B, H, T, K]` -> `[B, T, H K]`.
fn join(x: &Tensor) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

/// What [`cross_attention`] must equal.
fn unpacked(q: &Tensor, kv: &Tensor, heads: usize, valid: Option<&Tensor>) -> Result<Tensor> {
    let width = q.dim(2)?;
    let part = |i: usize| split(&kv.narrow(2, i * width, width)?, heads);
    join(&attention(&split(q, heads)?, &part(0)?, &part(1)?, valid, &Mask::Full)?)
}

/// Padding at the end, holes, none valid, all valid; and no mask at all.
fn masks() -> Result<[Option<Tensor>; 2]> {
    Ok([Some(mask(&[&[1, 1, 1, 0, 0], &[0, 1, 0, 1, 0], &[0; 5], &[1; 5]])?), None])
}

#[test]
fn packed_self_attention_equals_attention_on_permuted_tensors() -> Result<()> {
    for valid in masks()? {
        for (heads, width) in [(1, 8), (4, 8), (4, 4), (1, 1)] {
            assert_same(
                &[filled(&[4, 5, 3 * width], 1)?],
                |t| self_attention(&t[0], heads, valid.as_ref()),
                |t| {
                    let (q, kv) = (t[0].narrow(2, 0, width)?, t[0].narrow(2, width, 2 * width)?);
                    unpacked(&q.contiguous()?, &kv.contiguous()?, heads, valid.as_ref())
                },
                1e-5,
            )?;
        }
    }
    Ok(())
}

#[test]
fn packed_cross_attention_equals_attention_on_permuted_tensors() -> Result<()> {
    for valid in masks()? {
        for (heads, queries) in [(1, 1), (4, 1), (4, 7), (1, 300)] {
            assert_same(
                &[filled(&[4, queries, 8], 1)?, filled(&[4, 5, 16], 2)?],
                |t| cross_attention(&t[0], &t[1], heads, valid.as_ref()),
                |t| unpacked(&t[0], &t[1], heads, valid.as_ref()),
                1e-5,
            )?;
        }
    }
    Ok(())
}

#[test]
fn packed_attention_ignores_what_invalid_keys_hold() -> Result<()> {
    let valid = mask(&[&[1, 0, 1, 0], &[0, 0, 0, 0]])?;
    let garbage = Tensor::new(&[[0.0_f32], [f32::NAN], [0.0], [f32::INFINITY]], &Device::Cpu)?.reshape((1, 4, 1))?;
    let (q, kv) = (filled(&[2, 3, 4], 1)?, filled(&[2, 4, 8], 2)?);
    let op = |t: &[Tensor]| cross_attention(&t[0], &t[1], 2, Some(&valid));
    let (a, da) = run(&[q.clone(), kv.clone()], op)?;
    let (b, db) = run(&[q, kv.broadcast_add(&garbage)?], op)?;
    assert_eq!(numbers(&a)?, numbers(&b)?);
    for (a, b) in da.iter().zip(&db) {
        assert_eq!(numbers(a)?, numbers(b)?);
    }
    // The second object has no valid key: zeros in the result and in the gradients.
    for tensor in std::iter::once(&b).chain(&db) {
        assert!(numbers(&tensor.get(1)?)?.iter().all(|&value| value == 0.0));
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit_of_packed_attention() -> Result<()> {
    let row: Vec<u8> = (0..70).map(|i| u8::from(i % 5 != 2)).collect();
    let valid = mask(&[&row, &[1; 70], &[0; 70]])?;
    assert_same_on_any_threads(&[filled(&[3, 70, 36], 1)?], |t| self_attention(&t[0], 3, Some(&valid)))?;
    let inputs = [filled(&[3, 300, 12], 1)?, filled(&[3, 70, 24], 2)?];
    assert_same_on_any_threads(&inputs, |t| cross_attention(&t[0], &t[1], 3, Some(&valid)))
}

#[test]
fn packed_attention_names_wrong_shapes() -> Result<()> {
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let got = message(self_attention(&filled(&[2, 3, 12], 1)?, 3, None));
    assert!(got.contains("expected `qkv` of shape [batch, tokens, 3 x width] with 3 heads, got [2, 3, 12]"), "{got}");
    let got = message(cross_attention(&filled(&[2, 1, 4], 1)?, &filled(&[2, 3, 4], 2)?, 2, None));
    assert!(
        got.contains("expected `kv` of shape [2, tokens, 8] for `q` [2, 1, 4] with 2 heads, got [2, 3, 4]"),
        "{got}"
    );
    Ok(())
}
