//! The results of all shards as one.

use super::model::slots;
use super::result::{SUITE_VERSION, ShardTook, SuiteResult};
use super::shard::Shard;
use std::collections::BTreeSet;

/// A shard's result, with what it is called in messages.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is from.
    pub from: String,
    /// What it says.
    pub result: SuiteResult,
}

/// Makes one result of those of all shards; it has every run of the suite exactly once, in the suite's order.
///
/// # Errors
/// Everything that keeps them from being one: results of another suite, of the whole, of one shard twice, or a shard missing.
pub fn merge(parts: Vec<Part>) -> Result<SuiteResult, Vec<String>> {
    let Some(first) = parts.first() else { return Err(vec!["there is nothing to merge".to_owned()]) };
    let mut wrong = Vec::new();
    let mut shards: Vec<(Shard, &str)> = Vec::new();
    for part in &parts {
        let (from, result) = (&part.from, &part.result);
        let Some(shard) = result.shard else {
            let what = if result.merged.is_empty() { "a whole suite" } else { "merged already" };
            wrong.push(format!("{from} is not a valid shard: it is {what}"));
            continue;
        };
        if let Some((_, other)) = shards.iter().find(|(known, _)| *known == shard) {
            wrong.push(format!("{from} and {other} are both shard {shard}"));
        } else {
            shards.push((shard, from));
        }
        if let Err(why) = same_suite(&first.result, result) {
            wrong.push(format!("{from} and {} are not of one suite: {why}", first.from));
        } else if let Err(why) = complete(result, shard) {
            wrong.push(format!("{from}: {why}"));
        }
    }
    let of = shards.iter().map(|(shard, _)| shard.of).max().unwrap_or(0);
    if shards.iter().all(|(shard, _)| shard.of == of) {
        let is_there = |index: u32| shards.iter().any(|(shard, _)| shard.index == index);
        let missing: Vec<_> = (1..=of).filter(|index| !is_there(*index)).collect();
        wrong.extend(missing.iter().map(|index| format!("shard {index}/{of} is missing")));
    }
    if wrong.is_empty() { Ok(join(parts)) } else { Err(wrong) }
}

/// Whether two results are parts of one suite.
fn same_suite(one: &SuiteResult, other: &SuiteResult) -> Result<(), String> {
    if one.suite != other.suite {
        return Err(format!("{} and {}", other.suite, one.suite));
    }
    if one.version != SUITE_VERSION || other.version != SUITE_VERSION {
        return Err(format!("formats {} and {}, {SUITE_VERSION} is read", other.version, one.version));
    }
    let changed = one.planned.iter().zip(&other.planned).find(|(one, other)| one.digest != other.digest);
    if let Some((entry, _)) = changed.filter(|_| one.planned.len() == other.planned.len()) {
        return Err(format!("scenario {} was changed between them", entry.scenario));
    }
    if one.planned != other.planned || one.budget_ms != other.budget_ms {
        return Err("their drills or budgets differ".to_owned());
    }
    match (one.shard, other.shard) {
        (Some(one), Some(other)) if one.of != other.of => Err(format!("{} and {} shards", other.of, one.of)),
        _ => Ok(()),
    }
}

/// Whether a shard's result has each of its runs once and no other.
fn complete(result: &SuiteResult, shard: Shard) -> Result<(), String> {
    let wanted: BTreeSet<_> = slots(&result.planned, Some(shard)).into_iter().collect();
    let there: BTreeSet<_> = result.results.iter().map(|run| run.slot).collect();
    match there == wanted && result.results.len() == wanted.len() {
        true => Ok(()),
        false => Err(format!("its runs are not those of shard {shard}")),
    }
}

fn join(parts: Vec<Part>) -> SuiteResult {
    let mut merged = parts[0].result.clone();
    merged.shard = None;
    merged.merged = parts
        .iter()
        .filter_map(|part| {
            let result = &part.result;
            Some(ShardTook { shard: result.shard?, started: result.started.clone(), took_ms: result.took_ms })
        })
        .collect();
    merged.merged.sort_by_key(|shard| shard.shard);
    merged.started = merged.merged.iter().map(|shard| shard.started.clone()).min().unwrap_or_default();
    merged.took_ms = merged.merged.iter().map(|shard| shard.took_ms).fold(0.0, f64::max);
    merged.results = parts.into_iter().flat_map(|part| part.result.results).collect();
    merged.results.sort_by_key(|run| run.slot);
    merged.conclude();
    merged
}
