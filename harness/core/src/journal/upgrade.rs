//! Journals of older formats. Format 2 said in texts alone what later ones also say in fields of their own: which target a proof is
//! of, and what an observation is. The fields are filled from the texts once, when such a journal is read, so that nothing else
//! reads texts. The first journals of format 3 also lack what becomes of a node's page cache.

use crate::alert;
use crate::event::{Event, Fact, JOURNAL_VERSION, Observation, PageCache, Record, RunStarted, Source};
use crate::plan::Target;

/// The object of observations about the quorum of NATS' servers; with several namespaces it has one in front, with `/`.
const QUORUM: &str = "quorum";
/// In the state of a database cluster: what comes before the name of the instance that is to be the primary.
const MOVING_TO: &str = "moving to ";

/// Makes the records of a journal, whose first is the start of a run, those of [`JOURNAL_VERSION`].
pub(super) fn upgrade(records: &mut [Record]) {
    let Some(Event::RunStarted(start)) = records.first_mut().map(|first| &mut first.event) else { return };
    start.page_cache = start.page_cache.or_else(|| page_cache(start));
    if start.journal_version == JOURNAL_VERSION {
        return;
    }
    start.journal_version = JOURNAL_VERSION;
    let all = start.plan.targets();
    for record in records {
        match &mut record.event {
            Event::Proof { targets, subject, .. } => {
                *targets = all.iter().filter(|target| names(subject, target)).cloned().collect();
            }
            Event::Observed(seen) => seen.fact = fact(seen),
            _ => {}
        }
    }
}

/// What a journal without the field says of page caches. Of the providers of that time, kind alone powered nodes off, and its nodes
/// are containers.
fn page_cache(start: &RunStarted) -> Option<PageCache> {
    (start.cluster.provider == "kind").then_some(PageCache::Kept)
}

/// Whether a proof's subject names a target: its pod or its node as a whole word.
fn names(subject: &str, target: &Target) -> bool {
    let name = target.name();
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    subject
        .match_indices(name)
        .any(|(at, _)| !subject[..at].ends_with(of_a_name) && !subject[at + name.len()..].starts_with(of_a_name))
}

fn fact(seen: &Observation) -> Option<Fact> {
    let object = seen.object.as_str();
    match seen.source {
        Source::Nats if object.rsplit('/').next() == Some(QUORUM) => Some(Fact::Quorum),
        Source::Cnpg => {
            let (_, to) = seen.state.split_once(MOVING_TO)?;
            Some(Fact::PrimaryMoves { to: to.to_owned() })
        }
        Source::Alerts => Some(alert::fact_of_text(object, &seen.state)),
        Source::Events | Source::Nats | Source::Nodes | Source::Pods => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertState;

    #[test]
    fn a_subject_names_a_target_by_a_whole_word() {
        let target = |pod: &str| Target::Pod {
            namespace: "n".into(),
            pod: pod.into(),
            uid: String::new(),
            node: "worker".into(),
        };
        assert!(names("pod n/nats-1: gone", &target("nats-1")));
        assert!(!names("nats-10", &target("nats-1")));
        assert!(!names("ironflow-nats-1", &target("nats-1")));
        assert!(names("nats-10, nats-1", &target("nats-1")));
    }

    #[test]
    fn an_observation_is_what_its_text_says() {
        let fact = |source, object: &str, state: &str| {
            let (object, state) = (object.to_owned(), state.to_owned());
            fact(&Observation { source, object, state, healthy: None, fact: None })
        };
        for object in ["quorum", "ironflow-system/quorum"] {
            assert_eq!(fact(Source::Nats, object, "lost: 1 of 3 servers answer"), Some(Fact::Quorum));
        }
        assert_eq!(fact(Source::Nats, "nats-quorum", "does not answer"), None, "a server of that name");
        assert_eq!(fact(Source::Pods, "quorum", "ready"), None);
        let moves = fact(Source::Cnpg, "db", "Failing over, primary db-1, 1 of 2 ready, moving to db-2");
        assert_eq!(moves, Some(Fact::PrimaryMoves { to: "db-2".to_owned() }));
        assert_eq!(fact(Source::Cnpg, "db", "Failing over, primary db-1, 1 of 2 ready"), None);
        assert_eq!(fact(Source::Alerts, "Prometheus", "answers, 7 alerts"), Some(Fact::Prometheus));
        let firing = fact(Source::Alerts, "NATSDown", "firing, active since 10:00: instance=nats-0");
        assert_eq!(firing, Some(Fact::Alert(AlertState::Firing)));
    }
}
