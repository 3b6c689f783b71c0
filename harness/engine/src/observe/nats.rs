//! Watching NATS servers, which tell nobody when they lose each other.

use super::nats_state::{Lately, messages, quorum_lost};
use super::nats_view::{ServerView, views};
use super::subjects::Subjects;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::event::{Fact, Observation, Source};
use firedrill_core::scenario::{PodSelector, Scenario};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many messages wait in the stack's work queues, one for each namespace that has its own; `None` where there is none.
///
/// # Errors
/// Where that cannot be told now.
pub async fn backlog(cluster: &Cluster, scenario: &Scenario) -> Result<Option<u64>, ClusterError> {
    let Some(queue) = &scenario.watch.work_queue else { return Ok(None) };
    let mut all = None;
    for servers in &Subjects::of(scenario).nats {
        let found = messages(&views(cluster, servers).await?, queue);
        if let Some(waiting) = found.map_err(ClusterError::Other)? {
            all = Some(all.unwrap_or(0) + waiting);
        }
    }
    Ok(all)
}

/// Tells each server's state, the meta leader and the state of the whole when they change. `several`: there may be servers
/// in other namespaces too, so what is said of the whole names its own.
pub(super) async fn watch(cluster: Cluster, servers: PodSelector, several: bool, to: Sender<Observation>) {
    let whole = if several { format!("{}/", servers.namespace) } else { String::new() };
    let mut known = BTreeMap::new();
    let mut size = 0;
    let mut lately = Lately::default();
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // That the API server is away is told elsewhere; of the servers nothing is known then.
        let Ok(views) = views(&cluster, &servers).await else { continue };
        size = size.max(views.len());
        if size == 0 {
            continue;
        }
        for observation in states(&views, size, &whole, &mut lately) {
            let before = known.insert(observation.object.clone(), observation.clone());
            let starts_well = before.is_none() && observation.healthy != Some(false);
            if starts_well || before.as_ref() == Some(&observation) {
                continue;
            }
            if to.send(observation).await.is_err() {
                return;
            }
        }
    }
}

fn states(views: &[ServerView], size: usize, whole: &str, lately: &mut Lately) -> Vec<Observation> {
    let (quorum, replicas) = (&format!("{whole}quorum"), &format!("{whole}replicas"));
    let observation = |object: &str, state: String, healthy: bool| Observation {
        source: Source::Nats,
        object: object.to_owned(),
        state,
        healthy: Some(healthy),
        fact: None,
    };
    let of_quorum =
        |state: String, has_one: bool| Observation { fact: Some(Fact::Quorum), ..observation(quorum, state, has_one) };
    let mut states: Vec<_> = views
        .iter()
        .map(|view| match view.answer.as_ref().map(|answer| &answer.health) {
            Ok(Ok(())) => observation(&view.pod, "healthy".to_owned(), true),
            Ok(Err(why)) => observation(&view.pod, format!("unhealthy: {why}"), false),
            Err(why) => observation(&view.pod, format!("does not answer: {}", first_line(why)), false),
        })
        .collect();
    match quorum_lost(views, size) {
        Some(how) => states.push(of_quorum(format!("lost: {how}"), false)),
        None => {
            let leader = views.iter().filter_map(|view| view.answer.as_ref().ok()).find_map(|answer| {
                let meta = answer.jetstream.meta_cluster.as_ref()?;
                (!meta.leader.is_empty()).then_some(meta.leader.as_str())
            });
            states.push(of_quorum(format!("meta leader {}", leader.unwrap_or("none")), true));
        }
    }
    states.push(match lately.all_current(views, size) {
        Ok(_) => observation(replicas, "all current".to_owned(), true),
        Err(why) => observation(replicas, first_line(&why), false),
    });
    states
}

/// The first line of a reason, cut to what a timeline can show.
fn first_line(why: &str) -> String {
    let first = why.lines().next().unwrap_or_default();
    first.chars().take(200).collect()
}
