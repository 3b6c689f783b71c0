//! What the servers' views say together: whether all replicas are current, whether quorum is lost, what waits in a stream.

use super::condition::NotHeld;
use super::nats_view::{Answer, Group, ServerView};
use std::collections::{BTreeSet, VecDeque};

/// The replicas of all groups at one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Replicas {
    servers: usize,
    groups: usize,
    current: BTreeSet<String>,
    lagging: BTreeSet<String>,
}

impl Replicas {
    /// Whether all are current at this look, or were at one of the looks shortly before, when those were current that `seen`
    /// holds; it takes up those of this look.
    ///
    /// A replica lags for a moment with every write, so that on a busy cluster one of many does at nearly every look. One that
    /// was current had all that was committed until then, and one that is still behind is not current at any.
    ///
    /// # Errors
    /// The first that was not, for people.
    pub(super) fn caught_up(self, seen: &mut BTreeSet<String>) -> Result<String, String> {
        seen.extend(self.current);
        match self.lagging.difference(seen).next() {
            Some(replica) => Err(format!("{replica} is not current")),
            None => Ok(format!("{} servers routed, {} groups with every replica current", self.servers, self.groups)),
        }
    }

    fn add(&mut self, what: &str, group: &Group, wanted: usize) -> Result<(), String> {
        if group.replicas.len() + 1 < wanted {
            return Err(format!("{what} has {} of {wanted} replicas", group.replicas.len() + 1));
        }
        if let Some(peer) = group.replicas.iter().find(|peer| peer.offline) {
            return Err(format!("{what}: replica on {} is offline", peer.name));
        }
        for peer in &group.replicas {
            let all = if peer.current { &mut self.current } else { &mut self.lagging };
            all.insert(format!("{what}: replica on {}", peer.name));
        }
        self.groups += 1;
        Ok(())
    }
}

/// The replicas that were current at the last looks.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<BTreeSet<String>>);

impl Lately {
    /// How many looks are kept.
    const LOOKS: usize = 5;

    /// Whether every server answers, is routed to all others, and every replica of every group is current at this look or was
    /// at one of the last.
    ///
    /// # Errors
    /// The first thing that is not so, for people.
    pub(super) fn all_current(&mut self, views: &[ServerView], servers: usize) -> Result<String, String> {
        match replicas(views, servers) {
            Ok(replicas) => {
                self.0.truncate(Self::LOOKS - 1);
                self.0.push_front(replicas.current.clone());
                replicas.caught_up(&mut self.0.iter().flatten().cloned().collect())
            }
            Err(why) => {
                self.0.clear();
                Err(why.to_string())
            }
        }
    }
}

/// The replicas of all groups, where every server answers, is routed to all others, and no replica is missing or offline.
///
/// # Errors
/// The first thing that is not so; else, that a server does not answer: what it holds is not known.
pub(super) fn replicas(views: &[ServerView], servers: usize) -> Result<Replicas, NotHeld> {
    let answers = routed(views, servers).map_err(NotHeld::Missing)?;
    if let Some((pod, why)) = views.iter().find_map(|view| Some((&view.pod, view.answer.as_ref().err()?))) {
        return Err(NotHeld::Unseen(format!("{pod}: {why}")));
    }
    groups(&answers, servers).map_err(NotHeld::Missing)
}

/// The answers, where every server has a pod and all that answer are well and routed to all others.
fn routed(views: &[ServerView], servers: usize) -> Result<Vec<&Answer>, String> {
    if views.len() != servers {
        return Err(format!("{} of {servers} servers have a pod", views.len()));
    }
    let mut answers = Vec::new();
    for view in views {
        let Ok(answer) = &view.answer else { continue };
        answer.health.as_ref().map_err(|why| format!("{}: healthz says {why}", view.pod))?;
        let peers = answer.routes.peers().len();
        if peers + 1 != servers {
            return Err(format!("{} has routes to {peers} of {} others", view.pod, servers - 1));
        }
        if answer.jetstream.disabled {
            return Err(format!("{}: JetStream is off", view.pod));
        }
        answers.push(answer);
    }
    Ok(answers)
}

fn groups(answers: &[&Answer], servers: usize) -> Result<Replicas, String> {
    let mut replicas = Replicas { servers, ..Replicas::default() };
    if servers > 1 {
        let metas: Vec<_> =
            answers.iter().map(|answer| answer.jetstream.meta_cluster.clone().unwrap_or_default()).collect();
        let leaders: BTreeSet<_> = metas.iter().map(|meta| meta.leader.as_str()).collect();
        let leader = match leaders.iter().next() {
            Some(leader) if leaders.len() == 1 && !leader.is_empty() => *leader,
            _ => return Err("the servers do not agree on a meta leader".to_owned()),
        };
        let own = answers.iter().zip(&metas).find(|(answer, _)| answer.routes.server_name == leader);
        let (_, meta) = own.ok_or_else(|| format!("meta leader {leader} is none of the servers"))?;
        replicas.add("the meta group", meta, servers)?;
    }
    // A leader's own view is the complete one; that each stream has a leader is judged over all views together.
    let mut led = BTreeSet::new();
    let mut all = BTreeSet::new();
    for answer in answers {
        for stream in answer.jetstream.streams() {
            all.insert(stream.name.as_str());
            let Some(group) = &stream.cluster else { continue };
            if group.leader != answer.routes.server_name {
                continue;
            }
            let wanted = stream.config.as_ref().map_or(1, |config| config.num_replicas.max(1));
            replicas.add(&format!("stream {}", stream.name), group, wanted)?;
            led.insert(stream.name.as_str());
        }
    }
    if servers > 1
        && let Some(stream) = all.difference(&led).next()
    {
        return Err(format!("stream {stream} has no leader"));
    }
    let (mut led, mut all) = (BTreeSet::new(), BTreeSet::new());
    for answer in answers {
        for stream in answer.jetstream.streams() {
            for consumer in &stream.consumer_detail {
                let key = (stream.name.as_str(), consumer.name.as_str());
                all.insert(key);
                let Some(group) = &consumer.cluster else { continue };
                if group.leader != answer.routes.server_name {
                    continue;
                }
                // How many replicas a consumer should have is its stream's affair unless it says otherwise.
                replicas.add(&format!("consumer {} of {}", key.1, key.0), group, group.replicas.len() + 1)?;
                led.insert(key);
            }
        }
    }
    if servers > 1
        && let Some((stream, consumer)) = all.difference(&led).next()
    {
        return Err(format!("consumer {consumer} of {stream} has no leader"));
    }
    Ok(replicas)
}

/// Whether quorum is lost: no server that answers names a meta leader, or fewer than a majority answer. Says how.
pub(super) fn quorum_lost(views: &[ServerView], servers: usize) -> Option<String> {
    let answers: Vec<_> = views.iter().filter_map(|view| view.answer.as_ref().ok()).collect();
    let majority = servers / 2 + 1;
    if answers.len() < majority {
        return Some(format!("{} of {servers} servers answer, {majority} are a majority", answers.len()));
    }
    let leader = |answer: &&Answer| answer.jetstream.meta_cluster.as_ref().is_some_and(|meta| !meta.leader.is_empty());
    let named = answers.iter().filter(|answer| leader(answer)).count();
    (named == 0).then(|| format!("{} servers answer and none names a meta leader", answers.len()))
}

/// Messages of a stream as its leader counts them; `None` where there is no such stream.
///
/// # Errors
/// Where that cannot be told: too few servers answer, or nobody leads the stream.
pub(super) fn messages(views: &[ServerView], stream: &str) -> Result<Option<u64>, String> {
    let mut known = false;
    for answer in views.iter().filter_map(|view| view.answer.as_ref().ok()) {
        let Some(found) = answer.jetstream.streams().find(|found| found.name == stream) else { continue };
        known = true;
        match &found.cluster {
            Some(group) if group.leader != answer.routes.server_name => {}
            // A single server that is no cluster leads everything it has.
            Some(_) | None => return Ok(Some(found.state.messages)),
        }
    }
    if known {
        return Err(format!("nobody leads stream {stream}"));
    }
    match views.iter().find_map(|view| view.answer.as_ref().err().map(|why| (&view.pod, why))) {
        // A server that does not answer may be the one that has it.
        Some((pod, why)) => Err(format!("{pod}: {why}")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Three servers as NATS 2.15 tells of them; `n0` leads everything.
    fn healthy() -> Vec<ServerView> {
        (0..3)
            .map(|index| {
                let others = (0..3).filter(|other| *other != index);
                let name = format!("n{index}");
                // Several routes to each peer, as pooled routes are.
                let routes: Vec<_> = others
                    .clone()
                    .flat_map(|other| {
                        [json!({"remote_name": format!("n{other}")}), json!({"remote_name": format!("n{other}")})]
                    })
                    .collect();
                let peers: Vec<_> =
                    others.map(|other| json!({"name": format!("n{other}"), "current": true, "active": 1})).collect();
                let group = json!({"name": "c", "leader": "n0", "replicas": peers});
                let stream = json!({"name": "STEPS", "cluster": group, "config": {"num_replicas": 3},
                    "state": {"messages": 7}, "consumer_detail": [{"name": "workers", "cluster": group}]});
                let jetstream = json!({"meta_cluster": group, "account_details": [{"stream_detail": [stream]}]});
                let answer = Answer {
                    health: Ok(()),
                    routes: serde_json::from_value(json!({"server_name": name, "routes": routes})).unwrap(),
                    jetstream: serde_json::from_value(jetstream).unwrap(),
                };
                ServerView { pod: name, answer: Ok(answer) }
            })
            .collect()
    }

    fn change(at: usize, change: impl FnOnce(&mut Answer)) -> Vec<ServerView> {
        let mut views = healthy();
        change(views[at].answer.as_mut().unwrap());
        views
    }

    #[test]
    fn current_means_every_replica_of_every_group() {
        let all_current = |views: &[ServerView]| Lately::default().all_current(views, 3);
        assert_eq!(all_current(&healthy()).unwrap(), "3 servers routed, 3 groups with every replica current");
        let wrong = |views: Vec<ServerView>| all_current(&views).unwrap_err();
        assert_eq!(wrong(healthy()[..2].to_vec()), "2 of 3 servers have a pod");
        let mut silent = healthy();
        silent[2].answer = Err("no answer within 1000 ms".to_owned());
        assert_eq!(wrong(silent.clone()), "n2: no answer within 1000 ms");
        assert!(matches!(replicas(&silent, 3), Err(NotHeld::Unseen(_))), "what it holds is not known");
        silent[1].answer.as_mut().unwrap().routes.routes.truncate(2);
        let seen = NotHeld::Missing("n1 has routes to 1 of 2 others".to_owned());
        assert_eq!(replicas(&silent, 3).unwrap_err(), seen, "what another one says of it is");
        assert_eq!(wrong(change(1, |a| a.routes.routes.truncate(2))), "n1 has routes to 1 of 2 others");
        assert_eq!(wrong(change(1, |a| a.health = Err("503 x".into()))), "n1: healthz says 503 x");
        let stale = |a: &mut Answer| {
            let stream = &mut a.jetstream.account_details[0].stream_detail[0];
            stream.cluster.as_mut().unwrap().replicas[1].current = false;
        };
        assert_eq!(wrong(change(0, stale)), "stream STEPS: replica on n2 is not current");
        assert!(all_current(&change(1, stale)).is_ok(), "only the leader's view of its replicas counts");
        let consumer = |a: &mut Answer| {
            let consumer = &mut a.jetstream.account_details[0].stream_detail[0].consumer_detail[0];
            consumer.cluster.as_mut().unwrap().replicas[0].offline = true;
        };
        assert_eq!(wrong(change(0, consumer)), "consumer workers of STEPS: replica on n1 is offline");
        let unled = |a: &mut Answer| {
            let consumer = &mut a.jetstream.account_details[0].stream_detail[0].consumer_detail[0];
            consumer.cluster.as_mut().unwrap().leader.clear();
        };
        assert_eq!(wrong(change(0, unled)), "consumer workers of STEPS has no leader");
        let missing = |a: &mut Answer| {
            let stream = &mut a.jetstream.account_details[0].stream_detail[0];
            stream.cluster.as_mut().unwrap().replicas.pop();
        };
        assert_eq!(wrong(change(0, missing)), "stream STEPS has 2 of 3 replicas");
        let leaderless = |a: &mut Answer| {
            a.jetstream.account_details[0].stream_detail[0].cluster.as_mut().unwrap().leader.clear();
        };
        assert_eq!(wrong(change(0, leaderless)), "stream STEPS has no leader");
        let split = |a: &mut Answer| a.jetstream.meta_cluster.as_mut().unwrap().leader = "n1".to_owned();
        assert_eq!(wrong(change(1, split)), "the servers do not agree on a meta leader");
    }

    #[test]
    fn a_replica_that_lags_for_a_moment_is_no_loss_and_one_that_stays_behind_is() {
        let lagging = |peer: usize| {
            change(0, |a| {
                let stream = &mut a.jetstream.account_details[0].stream_detail[0];
                stream.cluster.as_mut().unwrap().replicas[peer].current = false;
            })
        };
        let mut seen = BTreeSet::new();
        let mut look = |views: &[ServerView]| replicas(views, 3).unwrap().caught_up(&mut seen);
        assert_eq!(look(&lagging(0)).unwrap_err(), "stream STEPS: replica on n1 is not current");
        assert_eq!(look(&lagging(0)).unwrap_err(), "stream STEPS: replica on n1 is not current");
        assert!(look(&lagging(1)).is_ok(), "n1 is current now, n2 was at the look before");
        let mut lately = Lately::default();
        assert!(lately.all_current(&healthy(), 3).is_ok());
        let behind: Vec<_> = (0..5).map(|_| lately.all_current(&lagging(0), 3).is_ok()).collect();
        assert_eq!(behind, [true, true, true, true, false], "until it was current at none of the last looks");
        let gone = change(0, |a| {
            a.jetstream.account_details[0].stream_detail[0].cluster.as_mut().unwrap().replicas[1].offline = true;
        });
        assert_eq!(replicas(&gone, 3).unwrap_err().to_string(), "stream STEPS: replica on n2 is offline");
    }

    #[test]
    fn quorum_is_lost_without_a_majority_or_without_a_leader() {
        assert_eq!(quorum_lost(&healthy(), 3), None);
        let mut one = healthy();
        one[1].answer = Err("gone".to_owned());
        assert_eq!(quorum_lost(&one, 3), None, "two of three are a majority");
        one[2].answer = Err("gone".to_owned());
        assert_eq!(quorum_lost(&one, 3).unwrap(), "1 of 3 servers answer, 2 are a majority");
        let mut leaderless = healthy();
        for view in &mut leaderless {
            view.answer.as_mut().unwrap().jetstream.meta_cluster.as_mut().unwrap().leader.clear();
        }
        assert_eq!(quorum_lost(&leaderless, 3).unwrap(), "3 servers answer and none names a meta leader");
    }

    #[test]
    fn the_backlog_is_the_leaders_count() {
        assert_eq!(messages(&healthy(), "STEPS"), Ok(Some(7)));
        assert_eq!(messages(&healthy(), "OTHER"), Ok(None));
        assert_eq!(messages(&healthy()[1..], "STEPS").unwrap_err(), "nobody leads stream STEPS");
        let mut silent = healthy();
        silent[2].answer = Err("no answer".to_owned());
        assert_eq!(messages(&silent, "OTHER").unwrap_err(), "n2: no answer");
        assert_eq!(messages(&[], "STEPS"), Ok(None));
    }
}
