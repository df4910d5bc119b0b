//! x
use panchroma_core::*;
use std::time::Instant;
fn main() {
    let (n, d, k) = (5000usize, 256usize, 5usize);
    let f: Vec<f32> = (0..n * d).map(|i| ((i * i % 100003) as f64 * 0.37).sin() as f32).collect();
    let labels: Vec<usize> = (0..n).map(|i| { let s: f32 = f[i*d..i*d+20].iter().sum(); (((s + 5.0) / 2.0).max(0.0) as usize).min(k-1) }).collect();
    let numbers: Vec<f64> = (0..n).map(|i| f[i*d..i*d+20].iter().sum::<f32>() as f64).collect();
    let names = (0..k).map(|c| c.to_string()).collect();
    let r = Registry::linked().unwrap();
    let _ = panchroma_heads::ridge::RidgeConfig { strengths: vec![] };
    let cls = ProbeTarget::Classes { labels, names };
    let num = ProbeTarget::Numbers(numbers);
    for (kind, t) in [("ridge", &num), ("neighbours", &num), ("logistic", &cls)] {
        let s = Section::from_toml("p", &format!("kind = \"{kind}\"")).unwrap();
        let p = r.probes.build(&s, &ProbeContext { name: "x" }).unwrap();
        let t0 = Instant::now();
        let fit = p.fit(&f, d, t).unwrap();
        let t1 = Instant::now();
        fit.predict(&f).unwrap();
        println!("{kind} fit {:?} predict {:?} {:?}", t1 - t0, t1.elapsed(), fit.chosen());
    }
    let t0 = Instant::now();
    let ranks = metrics::retrieval_ranks(&f[..5000*128], &f[5000*128..], 128);
    println!("ranks {:?} {}", t0.elapsed(), ranks.len());
}
