//! Kernels that move rows by index, against plain loops.

use super::{Index, NO_ROW, Number};
use crate::ops::gpu::testing::{assert_near, on_every_device, random, tolerance, wide};
use candle_core::Result;

#[test]
fn rows_are_gathered_and_their_gradients_summed() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for (count, rows, width) in [(0, 3, 5), (3, 1, 1), (127, 40, 33), (129, 7, 64), (5, 200, 129), (4, 0, 8)] {
                let pick = |i: usize| if i % 4 == 1 || rows == 0 { NO_ROW } else { (i * i % rows) as u32 };
                let indices: Vec<u32> = (0..count).map(pick).collect();
                let index = Index::new(bench.gpu(), &indices, rows)?;
                let (table, from) = (random(rows * width, 1, number), random(count * width, 2, number));
                let out = bench.out("gathered", count * width, number)?;
                let sums = bench.out("scattered", rows * width, number)?;
                index.gather(bench.gpu(), number, width, bench.numbers("table", &table, number)?, out.pointer())?;
                index.scatter(bench.gpu(), number, width, bench.numbers("from", &from, number)?, sums.pointer())?;
                let (table, from) = (wide(&table), wide(&from));
                let (mut expected, mut expected_sums) = (vec![0.0; count * width], vec![0.0; rows * width]);
                for (i, &row) in indices.iter().enumerate().filter(|(_, row)| **row != NO_ROW) {
                    for c in 0..width {
                        expected[i * width + c] = table[row as usize * width + c];
                        expected_sums[row as usize * width + c] += from[i * width + c];
                    }
                }
                assert_near(bench, "gathered", &out, &expected, 0.0)?;
                assert_near(bench, "scattered", &sums, &expected_sums, tolerance(number))?;
            }
        }
        Ok(())
    })
}

#[test]
fn an_index_without_a_row_is_an_error() -> Result<()> {
    on_every_device(|bench| {
        let error = Index::new(bench.gpu(), &[1, 3], 3).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("gather: index 3 of 3 rows"), "{error}");
        Ok(())
    })
}
