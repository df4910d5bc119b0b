//! Attention kernels against the CPU op, and against a plain loop for what the CPU op does not take.

use super::{Inputs, Masked, Number, Pointer, Problem, Rows, Visits};
use crate::ops::attention::scale_for;
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, wide};
use crate::ops::{BlockMask, Mask};
use candle_core::{Device, Result, Tensor, Var};

/// One problem with its inputs; queries, keys and values lie in one array of rows each, with room between.
struct Case {
    number: Number,
    /// Of queries and keys, at most `number`.
    rounded_to: Number,
    heads: usize,
    width: usize,
    queries: Vec<usize>,
    keys: Vec<usize>,
    valid: Option<Vec<u8>>,
    visits: Option<(usize, usize, Vec<u8>)>,
    blocks: Option<BlockMask>,
    causal: bool,
    uniform: bool,
    /// Of queries and keys.
    size: f32,
    tolerance: f64,
}

fn starts(lengths: &[usize]) -> Vec<u32> {
    let mut sum = 0;
    let mut starts = vec![0];
    for length in lengths {
        sum += *length as u32;
        starts.push(sum);
    }
    starts
}

impl Case {
    fn new(number: Number, heads: usize, width: usize, queries: &[usize], keys: &[usize]) -> Self {
        let (queries, keys) = (queries.to_vec(), keys.to_vec());
        let tolerance = match number {
            Number::F32 => 2e-5,
            Number::Bf16 => 2e-2, // weights are rounded to bf16 before the second product
        };
        Self {
            number,
            rounded_to: number,
            heads,
            width,
            queries,
            keys,
            valid: None,
            visits: None,
            blocks: None,
            causal: false,
            uniform: false,
            size: 1.0,
            tolerance,
        }
    }

    fn scale(&self) -> f32 {
        scale_for(if self.uniform { &Mask::Uniform } else { &Mask::Full }, self.width)
    }

    /// Whether `query` may attend to `key`, both counted within `sequence`.
    fn sees(&self, sequence: usize, query: usize, key: usize) -> bool {
        let (queries, keys) = (self.queries[sequence], self.keys[sequence]);
        let start = starts(&self.keys)[sequence] as usize;
        self.valid.as_ref().is_none_or(|valid| valid[start + key] != 0)
            && (!self.causal || key + queries <= query + keys)
            && self.blocks.as_ref().is_none_or(|blocks| blocks.sees(query, key))
            && self
                .visits
                .as_ref()
                .is_none_or(|(rows, columns, table)| table[(sequence * rows + query / 64) * columns + key / 64] != 0)
    }

    /// `out`, `dq`, `dk`, `dv` in rows of all heads.
    fn expected(&self, q: &[f64], k: &[f64], v: &[f64], dout: &[f64]) -> [Vec<f64>; 4] {
        let row = self.heads * self.width;
        let (mut out, mut dq) = (vec![0.0; q.len()], vec![0.0; q.len()]);
        let (mut dk, mut dv) = (vec![0.0; k.len()], vec![0.0; k.len()]);
        let scale = f64::from(self.scale());
        let (q_starts, k_starts) = (starts(&self.queries), starts(&self.keys));
        for s in 0..self.queries.len() {
            for head in 0..self.heads {
                for i in 0..self.queries[s] {
                    let at = (q_starts[s] as usize + i) * row + head * self.width;
                    let seen: Vec<usize> = (0..self.keys[s]).filter(|&j| self.sees(s, i, j)).collect();
                    let place = |j: usize| (k_starts[s] as usize + j) * row + head * self.width;
                    let dot = |a: &[f64], i: usize, b: &[f64], j: usize| -> f64 {
                        (0..self.width).map(|c| a[i + c] * b[j + c]).sum()
                    };
                    let scores: Vec<f64> = seen.iter().map(|&j| dot(q, at, k, place(j)) * scale).collect();
                    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp() / sum).collect();
                    for (&j, weight) in seen.iter().zip(&weights) {
                        for c in 0..self.width {
                            out[at + c] += weight * v[place(j) + c];
                        }
                    }
                    let along = dot(&out, at, dout, at);
                    for (&j, weight) in seen.iter().zip(&weights) {
                        let ds = weight * (dot(dout, at, v, place(j)) - along) * scale;
                        for c in 0..self.width {
                            dv[place(j) + c] += weight * dout[at + c];
                            dk[place(j) + c] += ds * q[at + c];
                            dq[at + c] += ds * k[place(j) + c];
                        }
                    }
                }
            }
        }
        [out, dq, dk, dv]
    }

    fn check(&self, bench: &Bench) -> Result<()> {
        let row = self.heads * self.width;
        let (queries, keys) = (self.queries.iter().sum::<usize>(), self.keys.iter().sum::<usize>());
        let sized = |count, seed| -> Vec<f32> {
            let values = random(count, seed, self.number).iter().map(|v| v * self.size).collect::<Vec<_>>();
            crate::ops::gpu::testing::rounded(&values, self.rounded_to)
        };
        let (q, mut k) = (sized(queries * row, 1), sized(keys * row, 2));
        let (mut v, dout) = (random(keys * row, 3, self.number), random(queries * row, 4, self.number));
        let [out, dq, dk, dv] = self.expected(&wide(&q), &wide(&k), &wide(&v), &wide(&dout));
        // What an invalid key holds must not matter.
        for (key, _) in self.valid.iter().flatten().enumerate().filter(|(_, valid)| **valid == 0) {
            k[key * row..][..row].fill(f32::NAN);
            v[key * row..][..row].fill(f32::NAN);
        }
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
        let (longest_queries, longest_keys) = (longest(&self.queries), longest(&self.keys));
        let mask = self.blocks.clone().map_or(Mask::Full, Mask::Blocks);
        let masked = Masked::new(bench.gpu(), &mask, longest_queries, longest_keys)?;
        let problem = Problem {
            number: self.number,
            heads: self.heads,
            width: self.width,
            sequences: self.queries.len(),
            queries,
            longest_queries,
            longest_keys,
            query_starts: bench.integers("query starts", &starts(&self.queries))?,
            key_starts: bench.integers("key starts", &starts(&self.keys))?,
            key_valid: match &self.valid {
                Some(valid) => bench.bytes("key_valid", valid)?,
                None => Pointer::NULL,
            },
            visits: match &self.visits {
                Some((rows, columns, table)) => Some(Visits {
                    table: bench.bytes("visits", table)?,
                    rows: *rows,
                    columns: *columns,
                    per_sequence: true,
                }),
                None => masked.visits,
            },
            causal: self.causal,
            scale: self.scale(),
        };
        let rows = |pointer| Rows { pointer, stride: row };
        let inputs = Inputs {
            q: rows(bench.numbers("q", &q, self.number)?),
            k: rows(bench.numbers("k", &k, self.number)?),
            v: rows(bench.numbers("v", &v, self.number)?),
        };
        let got = [("out", queries), ("dq", queries), ("dk", keys), ("dv", keys)]
            .map(|(name, count)| bench.out(name, count * row, self.number));
        let [got_out, got_dq, got_dk, got_dv] = got;
        let (got_out, got_dq, got_dk, got_dv) = (got_out?, got_dq?, got_dk?, got_dv?);
        let statistics = bench.gpu().allocate("statistics", problem.statistics_bytes())?;
        problem.forward(bench.gpu(), inputs, rows(got_out.pointer()), statistics.pointer())?;
        let dout = rows(bench.numbers("dout", &dout, self.number)?);
        let gradients = [&got_dq, &got_dk, &got_dv].map(|out| rows(out.pointer()));
        problem.backward(bench.gpu(), inputs, [rows(got_out.pointer()), dout], statistics.pointer(), gradients)?;
        for (name, got, expected) in
            [("out", &got_out, &out), ("dq", &got_dq, &dq), ("dk", &got_dk, &dk), ("dv", &got_dv, &dv)]
        {
            let what = format!("{name} {:?} {} {:?} {:?}", self.number, self.width, self.queries, self.keys);
            // Gradients scale with the other operand.
            let size = if name == "dq" || name == "dk" { f64::from(self.size) } else { 1.0 };
            assert_near(bench, &what, got, expected, self.tolerance * size)?;
        }
        Ok(())
    }
}

const NUMBERS: [Number; 2] = [Number::F32, Number::Bf16];

#[test]
fn every_width_and_the_widths_between() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            for width in [8, 16, 32, 48, 64, 96, 128] {
                Case::new(number, 2, width, &[70, 3], &[65, 67]).check(bench)?;
            }
        }
        Ok(())
    })
}

#[test]
fn sequences_of_awkward_lengths() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            Case::new(number, 1, 16, &[0, 1, 127, 129, 64], &[5, 1, 129, 127, 0]).check(bench)?;
            Case::new(number, 1, 16, &[], &[]).check(bench)?;
            Case::new(number, 1, 16, &[0], &[0]).check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn invalid_keys_have_no_weight_and_rows_without_keys_are_zero() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            let mut case = Case::new(number, 2, 32, &[66, 5, 4], &[130, 7, 3]);
            let mut valid: Vec<u8> = (0..140).map(|i| u8::from(i * 7 % 5 != 0)).collect();
            valid[..64].fill(0); // a whole tile
            valid[130..137].fill(0); // all of the second sequence
            case.valid = Some(valid);
            case.check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn a_uniform_mask_gives_the_mean_of_the_values() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            let mut case = Case::new(number, 2, 32, &[66, 5, 4], &[130, 7, 0]);
            case.valid = Some((0..137).map(|i| u8::from(i * 7 % 5 != 0)).collect());
            case.uniform = true;
            case.check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn causal_rows_end_at_the_diagonal_of_the_last_query() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            // As many queries as keys, fewer (decoding), and more (the first see nothing).
            let mut case = Case::new(number, 1, 16, &[129, 3, 70], &[129, 130, 5]);
            case.causal = true;
            case.check(bench)?;
            case.width = 96;
            case.queries = vec![65];
            case.keys = vec![100];
            case.check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn tiles_that_the_table_leaves_out_are_not_visited() -> Result<()> {
    on_every_device(|bench| {
        for number in NUMBERS {
            for width in [16, 128] {
                let mut case = Case::new(number, 1, width, &[130, 64], &[200, 64]);
                // The second block of queries of the first sequence sees nothing, nor does the second sequence.
                case.visits = Some((3, 4, [[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]].concat()));
                if let Some((_, _, table)) = &mut case.visits {
                    table.extend([0; 12]);
                }
                case.check(bench)?;
                case.causal = true;
                case.check(bench)?;
            }
        }
        Ok(())
    })
}

#[test]
fn blocks_of_whole_tiles_are_seen_as_the_mask_says() -> Result<()> {
    let rows = [vec![true, false, true], vec![false; 3], vec![true, true, false]];
    on_every_device(|bench| {
        for number in NUMBERS {
            // The table ends before the keys of the second; the last blocks are not full.
            for (size, queries, keys) in [(64, [130, 64], [150, 200]), (128, [300, 7], [260, 129])] {
                let mut case = Case::new(number, 1, 32, &queries, &keys);
                case.blocks = Some(BlockMask::new(size, &rows)?);
                case.check(bench)?;
            }
        }
        let odd = Mask::Blocks(BlockMask::new(48, &rows)?);
        let error = Masked::new(bench.gpu(), &odd, 10, 10).err().expect("an error").to_string();
        assert!(error.contains("a multiple of 64 tokens on a GPU, got 48"), "{error}");
        Ok(())
    })
}

#[test]
fn large_scores_give_no_nan() -> Result<()> {
    on_every_device(|bench| {
        // Scores of up to 1e4: 64 products of up to 35^2 each.
        let mut case = Case::new(Number::Bf16, 1, 64, &[66], &[66]);
        case.size = 35.0;
        case.check(bench)?;
        // In f32, scores of 1e4 have errors of 1e-3, whoever computes them.
        case.number = Number::F32;
        case.rounded_to = Number::Bf16;
        case.tolerance = 5e-3;
        case.check(bench)
    })
}

#[test]
fn packed_rows_of_a_linear_map_equal_the_cpu() -> Result<()> {
    let (batch, tokens, heads, width) = (2, 67, 2, 32);
    let row = heads * width;
    let values = random(batch * tokens * 3 * row, 5, Number::F32);
    let valid: Vec<u8> = (0..batch * tokens).map(|i| u8::from(i % 3 != 1 && i < batch * tokens - 9)).collect();
    let upstream = random(batch * tokens * row, 6, Number::F32);
    let qkv = Var::from_tensor(&Tensor::from_slice(&values, (batch, tokens, 3 * row), &Device::Cpu)?)?;
    let mask = Tensor::from_slice(&valid, (batch, tokens), &Device::Cpu)?;
    let out = crate::ops::self_attention(&qkv, heads, Some(&mask))?;
    let gradients =
        (&out * Tensor::from_slice(&upstream, (batch, tokens, row), &Device::Cpu)?)?.sum_all()?.backward()?;
    let numbers = |t: &Tensor| -> Result<Vec<f64>> { Ok(wide(&t.flatten_all()?.to_vec1::<f32>()?)) };
    let (out, dqkv) = (numbers(&out)?, numbers(gradients.get(&qkv).expect("a gradient"))?);
    on_every_device(|bench| {
        let qkv = bench.numbers("qkv", &values, Number::F32)?;
        let (got, got_dqkv) = (bench.out("out", out.len(), Number::F32)?, bench.out("dqkv", dqkv.len(), Number::F32)?);
        let starts = bench.integers("starts", &starts(&[tokens; 2]))?;
        let problem = Problem {
            number: Number::F32,
            heads,
            width,
            sequences: batch,
            queries: batch * tokens,
            longest_queries: tokens,
            longest_keys: tokens,
            query_starts: starts,
            key_starts: starts,
            key_valid: bench.bytes("valid", &valid)?,
            visits: None,
            causal: false,
            scale: 1.0 / (width as f32).sqrt(),
        };
        let parts =
            |base: Pointer| [0, row, 2 * row].map(|at| Rows { pointer: base.at(at, Number::F32), stride: 3 * row });
        let rows = |pointer| Rows { pointer, stride: row };
        let [q, k, v] = parts(qkv);
        let statistics = bench.gpu().allocate("statistics", problem.statistics_bytes())?;
        problem.forward(bench.gpu(), Inputs { q, k, v }, rows(got.pointer()), statistics.pointer())?;
        let both = [rows(got.pointer()), rows(bench.numbers("dout", &upstream, Number::F32)?)];
        let gradients = parts(got_dqkv.pointer());
        problem.backward(bench.gpu(), Inputs { q, k, v }, both, statistics.pointer(), gradients)?;
        assert_near(bench, "out", &got, &out, 2e-5)?;
        assert_near(bench, "dqkv", &got_dqkv, &dqkv, 2e-5)
    })
}
