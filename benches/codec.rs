//! Codecs at their published size, from measurements on the host to codes on the host: the peer is benches/peers/codec.py.
//!
//! `codec spectrum [encode|decode]` prints the median time of a batch.

#![expect(clippy::print_stdout, reason = "what it measured is its output")]

use candle_core::{Device, Tensor};
use panchroma_core::{Parameters, Result, ops};
use panchroma_spectrum::codec::{MaskRule, Spectra, SpectrumCodec, SpectrumCodecConfig};
use std::time::Instant;

const PASSES: usize = 7;
const BATCH: usize = 8;
/// Samples of a spectrum of DESI.
const SAMPLES: usize = 7781;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let Some(name) = arguments.first() else { return Ok(()) };
    ops::limit_spinning();
    ops::keep_large_buffers();
    let way = arguments.get(1).map_or("encode", String::as_str);
    let (mut seconds, tokens) = match name.as_str() {
        "spectrum" => spectrum(way)?,
        _ => return Err(candle_core::Error::Msg(format!("no codec `{name}`")).into()),
    };
    seconds.sort_by(f64::total_cmp);
    println!("seconds={:.6} {name} {way} {BATCH}x{tokens}", seconds[seconds.len() / 2]);
    Ok(())
}

fn spectrum(way: &str) -> Result<(Vec<f64>, usize)> {
    let codec = SpectrumCodec::new(&SpectrumCodecConfig::default(), &Parameters::new(1, &Device::Cpu))?;
    let places = Tensor::arange(0_f32, (BATCH * SAMPLES) as f32, &Device::Cpu)?.reshape((BATCH, SAMPLES))?;
    let flux = ((&places * 0.01)?.sin()? + 2.0)?;
    let ivar = flux.ones_like()?;
    let mask = Tensor::zeros((BATCH, SAMPLES), candle_core::DType::U8, &Device::Cpu)?;
    let wavelength = (Tensor::arange(0_f32, SAMPLES as f32, &Device::Cpu)? * 0.8)?.broadcast_as((BATCH, SAMPLES))?;
    let wavelength = (wavelength + 3600.0)?;
    let encode = || codec.encode(Spectra { flux: &flux, ivar: &ivar, mask: &mask, wavelength: &wavelength });
    let codes = encode()?;
    let mut seconds = Vec::new();
    for _ in 0..PASSES + 2 {
        let start = Instant::now();
        match way {
            "decode" => drop(codec.decode(&codes, Some(&wavelength), MaskRule::Sensible)?),
            _ => drop(encode()?),
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    // The first passes make the buffers.
    Ok((seconds.split_off(2), codes.dim(1)?))
}
