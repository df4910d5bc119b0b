//! On devices for which there is no code of ours: candle's convolutions, whose channels come before lines and columns.

use super::Window;
use candle_core::{Result, Tensor};

/// Either convolution, by candle.
pub(super) fn apply(x: &Tensor, w: &Tensor, b: Option<&Tensor>, window: Window, transposed: bool) -> Result<Tensor> {
    let Window { stride, padding } = window;
    let (x, w) = (x.permute((0, 3, 1, 2))?.contiguous()?, w.permute((0, 3, 1, 2))?.contiguous()?);
    let y =
        if transposed { x.conv_transpose2d(&w, padding, 0, stride, 1)? } else { x.conv2d(&w, padding, stride, 1, 1)? };
    let y = y.permute((0, 2, 3, 1))?.contiguous()?;
    match b {
        Some(b) => y.broadcast_add(b),
        None => Ok(y),
    }
}
