//! Finding an object by another modality of it.

use super::results::{Measured, RetrievalResult};
use super::{Embeddings, EvaluateConfig};
use crate::Result;
use crate::metrics;
use std::collections::BTreeMap;

/// Every direction between modalities that share a space, over all objects and per group.
///
/// # Errors
/// If shapes disagree.
pub fn retrieval(
    held: &Embeddings,
    groups: Option<&[Option<String>]>,
    config: &EvaluateConfig,
    seed: u64,
) -> Result<(Vec<RetrievalResult>, Vec<Measured>)> {
    let mut results = Vec::new();
    let mut measured = Vec::new();
    for (from, a) in &held.shared {
        for (to, b) in held.shared.iter().filter(|(to, _)| *to != from) {
            let both: Vec<usize> = (0..held.ids.len()).filter(|i| a.present[*i] && b.present[*i]).collect();
            let mut parts: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
            parts.insert(None, both.clone());
            if let Some(groups) = groups {
                for i in both {
                    if let Some(Some(group)) = groups.get(i) {
                        parts.entry(Some(group.clone())).or_default().push(i);
                    }
                }
            }
            for (group, objects) in parts {
                // With fewer than two there is nothing to choose from.
                if objects.len() < 2 {
                    continue;
                }
                let ranks = metrics::retrieval_ranks(&a.gather(&objects), &b.gather(&objects), a.width);
                let share = |k: usize| {
                    metrics::bootstrap(ranks.len(), config.resamples, seed, |sample| {
                        sample.iter().filter(|i| ranks[**i] <= k).count() as f64 / sample.len() as f64
                    })
                };
                results.push(RetrievalResult {
                    from: from.clone(),
                    to: to.clone(),
                    pool: objects.len(),
                    top1: share(1),
                    top5: share(5),
                    top10: share(10),
                    chance10: (10.0 / objects.len() as f64).min(1.0),
                    median_rank: metrics::median_rank(&ranks),
                    group: group.clone(),
                });
                if group.is_none() {
                    measured.push(Measured { from: from.clone(), to: to.clone(), ranks, pool: objects.len() });
                }
            }
        }
    }
    Ok((results, measured))
}

/// Share of queries whose partner is among the first `k`, per direction `FROM-TO`; for the log
/// during training, without intervals.
#[must_use]
pub fn retrieval_share(held: &Embeddings, k: usize) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for (from, a) in &held.shared {
        for (to, b) in held.shared.iter().filter(|(to, _)| *to != from) {
            let both: Vec<usize> = (0..held.ids.len()).filter(|i| a.present[*i] && b.present[*i]).collect();
            if both.len() >= 2 {
                let ranks = metrics::retrieval_ranks(&a.gather(&both), &b.gather(&both), a.width);
                shares.insert(format!("{from}-{to}"), metrics::top_k(&ranks, k));
            }
        }
    }
    shares
}
