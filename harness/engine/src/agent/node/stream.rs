//! A stream of JetStream's filled with messages until a volume that holds it is full, and emptied of them.

use super::wire::{Filler, Messages, Space, StreamSeen};
use super::{filler, on_disk};
use crate::ledger::{count, jetstream_of};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Info, RetentionPolicy, Stream};
use bytes::Bytes;
use firedrill_core::event::StreamBefore;
use futures::TryStreamExt;
use futures::future::try_join_all;
use std::io;
use std::time::Duration;

/// The limit of one answer of JetStream; below that of the agent's own answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The size of a message: below the 1 MiB that a server takes by default.
const MESSAGE_BYTES: usize = 256 << 10;
/// How many messages wait for their acknowledgement at once: JetStream takes them in order, and the drill's own wait behind.
const IN_FLIGHT: usize = 2;

async fn connect(server: &str) -> io::Result<Context> {
    jetstream_of(server, ANSWER_MAX).await.map_err(io::Error::other)
}

/// The stream; `None` where JetStream says that it has none of that name.
async fn stream(messages: &Messages) -> io::Result<Option<(Context, Stream)>> {
    let context = connect(&messages.server).await?;
    match context.get_stream(&messages.stream).await {
        Ok(stream) => Ok(Some((context, stream))),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer) if answer.code() == 404 => {
                // A server that could not load its replica says so too, while there is no leader: who lists them all knows better.
                let names: Vec<_> = context.stream_names().try_collect().await.map_err(io::Error::other)?;
                if names.contains(&messages.stream) {
                    return Err(io::Error::other(format!("stream {} is there and has no leader", messages.stream)));
                }
                Ok(None)
            }
            _ => Err(io::Error::other(error)),
        },
    }
}

/// Publishes up to `bytes_max` more, until no more than `leave_bytes` are free. Every message is acknowledged: a quorum of
/// the replicas has it.
pub(super) async fn fill(messages: &Messages, volume: &Filler, leave_bytes: u64, bytes_max: u64) -> io::Result<Space> {
    let context = connect(&messages.server).await?;
    let payload = payload();
    let batch_bytes = (IN_FLIGHT * MESSAGE_BYTES) as u64;
    let mut published = 0;
    loop {
        let seen = on_disk(volume.clone(), |volume| filler::look(volume, false)).await?;
        filler::may_be_filled(&volume.volume, seen.bytes)?;
        let full = seen.bytes_free < leave_bytes + batch_bytes;
        if full || published + batch_bytes > bytes_max {
            return Ok(Space { full, ..seen });
        }
        let batch = (0..IN_FLIGHT).map(|_| async {
            // Another stream that takes the subject refuses it.
            let message = PublishMessage::build().payload(payload.clone()).expected_stream(&messages.stream);
            let sent = context.send_publish(messages.subject.clone(), message).await;
            sent.map_err(io::Error::other)?.await.map_err(io::Error::other)
        });
        try_join_all(batch).await?;
        published += batch_bytes;
    }
}

/// Not all the same byte, which a store that compresses would not keep.
fn payload() -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..MESSAGE_BYTES / 8).map(|_| {
        // xorshift64, by G. Marsaglia (2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().collect()
}

/// How the stream is set up, and how many of the messages are in it.
pub(super) async fn look(messages: &Messages) -> io::Result<Option<StreamSeen>> {
    let Some((context, stream)) = stream(messages).await? else { return Ok(None) };
    let there = count(&stream, &messages.subject).await.map_err(io::Error::other)?;
    let info = stream.cached_info();
    let copied = copied_by(&context, &messages.stream).await?;
    let unfit = unfit(&info.config).map(str::to_owned).or(copied.map(|by| format!("stream {by} copies its messages")));
    let cluster = info.cluster.iter();
    let servers = cluster.flat_map(|cluster| {
        cluster.leader.iter().cloned().chain(cluster.replicas.iter().map(|replica| replica.name.clone()))
    });
    Ok(Some(StreamSeen { now: before(info)?, unfit, servers: servers.collect(), messages: there }))
}

fn before(info: &Info) -> io::Result<StreamBefore> {
    let config = serde_json::to_string(&info.config)?;
    Ok(StreamBefore { config, created_ns: info.created.unix_timestamp_nanos().to_string() })
}

/// Another stream that gets what is published to this one: purging this one would leave it there.
async fn copied_by(context: &Context, stream: &str) -> io::Result<Option<String>> {
    let mut all = context.streams();
    while let Some(other) = all.try_next().await.map_err(io::Error::other)? {
        let sources = other.config.sources.iter().flatten().chain(&other.config.mirror);
        if sources.into_iter().any(|source| source.name == stream) {
            return Ok(Some(other.config.name));
        }
    }
    Ok(None)
}

/// Why a stream cannot be filled, and purged after, without touching what is others'.
fn unfit(config: &Config) -> Option<&'static str> {
    if config.sealed || config.deny_purge {
        return Some("it cannot be purged");
    }
    if config.republish.is_some() {
        return Some("its messages are published again elsewhere");
    }
    if config.retention != RetentionPolicy::Limits {
        return Some("its messages are work for those who read it");
    }
    let limits = [config.max_bytes, config.max_messages, config.max_messages_per_subject];
    limits.iter().any(|limit| *limit > 0).then_some("it has a limit beyond which it discards what others published")
}

/// Purges the messages, and gives the stream its configuration back. A stream that is not there has neither; one that was
/// made since keeps its own, and so does one that keeps more by now: putting a tighter limit back would discard what is others'.
pub(super) async fn empty(messages: &Messages, was: &StreamBefore) -> io::Result<()> {
    let Some((context, stream)) = stream(messages).await? else { return Ok(()) };
    stream.purge().filter(messages.subject.as_str()).await.map_err(io::Error::other)?;
    if !is_as_before(&before(stream.cached_info())?, was) {
        let wanted: Config = serde_json::from_str(&was.config)?;
        if let Some(limit) = tighter(&stream.cached_info().config, &wanted) {
            return Err(io::Error::other(format!(
                "stream {} keeps more by its {limit} than it did, and putting that back would discard messages: do so by hand, \
                 where they may go",
                messages.stream
            )));
        }
        context.update_stream(&wanted).await.map_err(io::Error::other)?;
    }
    Ok(())
}

/// A limit by which a stream would keep less than it does now.
fn tighter(now: &Config, wanted: &Config) -> Option<&'static str> {
    // Neither 0 nor -1 is a limit.
    let counts = |now: i64, wanted: i64| wanted > 0 && (now <= 0 || wanted < now);
    let age = !wanted.max_age.is_zero() && (now.max_age.is_zero() || wanted.max_age < now.max_age);
    let limits = [
        ("max_age", age),
        ("max_bytes", counts(now.max_bytes, wanted.max_bytes)),
        ("max_msgs", counts(now.max_messages, wanted.max_messages)),
        ("max_msgs_per_subject", counts(now.max_messages_per_subject, wanted.max_messages_per_subject)),
    ];
    limits.into_iter().find_map(|(limit, tighter)| tighter.then_some(limit))
}

/// Whether a stream is set up as it was, but for what the server itself notes in the metadata, or is another one by now.
pub fn is_as_before(now: &StreamBefore, was: &StreamBefore) -> bool {
    let settings = |of: &StreamBefore| {
        let config: Config = serde_json::from_str(&of.config).ok()?;
        Some(Config { metadata: Default::default(), ..config })
    };
    let same = || settings(was).is_some_and(|was| settings(now) == Some(was));
    now.created_ns != was.created_ns || same()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_notes_are_no_change_of_the_configuration() {
        let with = |max_age_s: u64, note: &str, created_ns: &str| {
            let metadata = [("_nats.ver".to_owned(), note.to_owned())].into();
            let config = Config { max_age: Duration::from_secs(max_age_s), metadata, ..Config::default() };
            StreamBefore { config: serde_json::to_string(&config).unwrap(), created_ns: created_ns.to_owned() }
        };
        assert!(is_as_before(&with(60, "2.11", "1"), &with(60, "2.12", "1")));
        assert!(!is_as_before(&with(60, "2.12", "1"), &with(120, "2.12", "1")));
        assert!(is_as_before(&with(60, "2.12", "2"), &with(120, "2.12", "1")), "one that was made since");
        let unreadable = StreamBefore { config: String::new(), created_ns: "1".to_owned() };
        assert!(!is_as_before(&unreadable, &unreadable));
    }

    #[test]
    fn a_limit_is_put_back_only_where_that_discards_nothing() {
        let age = |s: u64| Config { max_age: Duration::from_secs(s), max_bytes: -1, ..Config::default() };
        assert_eq!(tighter(&age(120), &age(604_800)), None, "what a runbook had it keep less");
        assert_eq!(tighter(&age(604_800), &age(120)), Some("max_age"));
        assert_eq!(tighter(&age(0), &age(120)), Some("max_age"), "it keeps for ever by now");
        assert_eq!(tighter(&age(120), &age(0)), None);
        let bytes = |max_bytes| Config { max_bytes, ..Config::default() };
        assert_eq!(tighter(&bytes(-1), &bytes(5)), Some("max_bytes"));
        assert_eq!(tighter(&bytes(5), &bytes(-1)), None);
    }

    #[test]
    fn a_stream_that_would_discard_or_cannot_be_purged_is_not_filled() {
        assert_eq!(unfit(&Config { max_bytes: -1, ..Config::default() }), None);
        assert!(unfit(&Config { max_messages: 9, ..Config::default() }).is_some());
        assert!(unfit(&Config { deny_purge: true, ..Config::default() }).is_some());
        assert!(unfit(&Config { retention: RetentionPolicy::WorkQueue, ..Config::default() }).is_some());
    }
}
