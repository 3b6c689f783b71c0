//! Following a kind of objects for as long as a run lasts, whatever happens to the connection.

use crate::cluster::typed;
use crate::planted::{self, Bug};
use firedrill_core::event::Observation;
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{Config, Event, watcher};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

/// The server ends a watch after this long, in seconds, and it is taken up again without a gap. It is shorter than the
/// client's read timeout, so that a quiet watch is told from a dead connection.
const WATCH_S: u32 = 15;
/// Time between two tries while the API server is away.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What is told beside changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportOptions {
    /// What is unhealthy when the following begins.
    pub(crate) unhealthy_at_start: bool,
    /// That an object is gone.
    pub(crate) gone: bool,
}

/// Follows until the receiver closes. `describe` gives an object's state; only changes of that are told.
///
/// Objects come without a type and are read by theirs afterwards: see [`typed`].
pub(super) async fn follow<K: DeserializeOwned>(
    api: Api<DynamicObject>,
    tell: ReportOptions,
    to: Sender<Observation>,
    describe: impl Fn(&K) -> Option<Observation> + Send,
) {
    let describe = |object: &DynamicObject| match typed(object) {
        Ok(object) => describe(&object),
        Err(error) => {
            tracing::debug!(%error, object = object.name_any(), "an object cannot be read");
            None
        }
    };
    let mut known = KnownObjects::new(tell);
    let mut changes = watcher(api, Config::default().timeout(WATCH_S)).boxed();
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(change) = changes.next().await {
        let told = match change {
            Ok(Event::Apply(object)) => known.seen(key(&object), describe(&object)),
            Ok(Event::InitApply(object)) => known.listed(key(&object), describe(&object)),
            Ok(Event::Delete(object)) => known.gone(&key(&object)),
            Ok(Event::Init) => known.list_begins(),
            Ok(Event::InitDone) => known.list_ends(),
            Err(error) => {
                tracing::debug!(%error, "a watch broke");
                retry.tick().await;
                continue;
            }
        };
        for observation in told {
            if to.send(observation).await.is_err() {
                return;
            }
        }
    }
}

fn key(object: &DynamicObject) -> String {
    object.uid().unwrap_or_else(|| format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()))
}

/// The latest state of every object.
pub(crate) struct KnownObjects {
    tell: ReportOptions,
    states: BTreeMap<String, (Observation, u64)>,
    /// The how many-th listing; what the latest one lacks is gone.
    listing: u64,
    started: bool,
}

impl KnownObjects {
    pub(crate) fn new(tell: ReportOptions) -> Self {
        Self { tell, states: BTreeMap::new(), listing: 0, started: false }
    }

    pub(crate) fn seen(&mut self, key: String, state: Option<Observation>) -> Vec<Observation> {
        let Some(state) = state else { return Vec::new() };
        let before = self.states.insert(key, (state.clone(), self.listing));
        if before.is_some_and(|(before, _)| before == state) {
            return Vec::new();
        }
        vec![state]
    }

    pub(crate) fn listed(&mut self, key: String, state: Option<Observation>) -> Vec<Observation> {
        if self.started && planted::has(Bug::RelistIgnored) {
            return Vec::new();
        }
        let started = self.started;
        let mut told = self.seen(key, state);
        told.retain(|state| started || (self.tell.unhealthy_at_start && state.healthy == Some(false)));
        told
    }

    pub(crate) fn list_begins(&mut self) -> Vec<Observation> {
        self.listing += 1;
        Vec::new()
    }

    pub(crate) fn list_ends(&mut self) -> Vec<Observation> {
        self.started = true;
        let listing = self.listing;
        let missing = self.states.iter().filter(|(_, (_, seen_in))| *seen_in < listing);
        let missing: Vec<_> = missing.map(|(key, _)| key.clone()).collect();
        missing.iter().flat_map(|key| self.gone(key)).collect()
    }

    fn gone(&mut self, key: &str) -> Vec<Observation> {
        let Some((state, _)) = self.states.remove(key) else { return Vec::new() };
        if !self.tell.gone {
            return Vec::new();
        }
        vec![Observation { state: "gone".to_owned(), healthy: Some(false), fact: None, ..state }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::event::Source;

    fn state(text: &str, healthy: bool) -> Option<Observation> {
        let (source, object, state) = (Source::Pods, "nats-0".to_owned(), text.to_owned());
        Some(Observation { source, object, state, healthy: Some(healthy), fact: None })
    }

    fn texts(told: Vec<Observation>) -> Vec<String> {
        told.into_iter().map(|observation| observation.state).collect()
    }

    #[test]
    fn only_changes_are_told_also_those_missed_while_cut_off() {
        let mut known = KnownObjects::new(ReportOptions { unhealthy_at_start: true, gone: true });
        known.list_begins();
        assert!(known.listed("a".to_owned(), state("ready", true)).is_empty());
        assert_eq!(texts(known.listed("b".to_owned(), state("not ready", false))), ["not ready"]);
        assert!(known.listed("c".to_owned(), state("ready", true)).is_empty());
        assert!(known.list_ends().is_empty());
        assert!(known.seen("a".to_owned(), state("ready", true)).is_empty());
        assert_eq!(texts(known.seen("a".to_owned(), state("terminating", false))), ["terminating"]);
        // The watch breaks, and the next listing differs.
        known.list_begins();
        assert_eq!(texts(known.listed("d".to_owned(), state("pending", false))), ["pending"]);
        assert!(known.listed("a".to_owned(), state("terminating", false)).is_empty());
        assert_eq!(texts(known.listed("b".to_owned(), state("ready", true))), ["ready"]);
        assert_eq!(texts(known.list_ends()), ["gone"], "c went while nobody looked");
        assert_eq!(texts(known.gone("a")), ["gone"]);
        assert!(known.gone("a").is_empty());
    }
}
