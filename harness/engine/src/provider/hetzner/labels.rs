//! Labels that mark firedrill's resources with cluster, run, owner and expiry. Resources without them are never touched.

use super::super::NAME_PREFIX;
use std::collections::BTreeMap;
use thiserror::Error;

/// The labels of a resource.
pub(crate) type Labels = BTreeMap<String, String>;

/// What the keys of firedrill's labels begin with.
pub(crate) const PREFIX: &str = "firedrill.dev/";
/// The cluster of a resource. A resource is ours only if this label has a value that begins with [`NAME_PREFIX`].
pub(crate) const CLUSTER: &str = "firedrill.dev/cluster";
/// The run that created the resource.
pub(crate) const RUN: &str = "firedrill.dev/run";
/// The owner, who pays for the resource.
pub(crate) const OWNER: &str = "firedrill.dev/owner";
/// The expiry in seconds since the epoch, after which `sweep --expired` deletes it. RFC 3339 has colons, which labels cannot hold.
pub(crate) const EXPIRES: &str = "firedrill.dev/expires";
/// The role of a server: `control-plane` or `worker`.
pub(crate) const ROLE: &str = "firedrill.dev/role";

/// The maximum length of a key's name and of a value, in bytes.
const WORD_BYTES_MAX: usize = 63;
/// The maximum length of a key's prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 253;

/// The labels of one of firedrill's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The cluster, whose name begins with [`NAME_PREFIX`].
    pub(crate) cluster: String,
    /// The run that created the resource.
    pub(crate) run: String,
    /// The owner, who pays for the resource.
    pub(crate) owner: String,
    /// The expiry, in seconds since the epoch.
    pub(crate) expires_unix_s: i64,
}

/// The owner of a resource, from its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// firedrill created it.
    Ours(Mark),
    /// firedrill created it, and somebody changed its labels. Only `down` with the cluster's name deletes it.
    Damaged {
        /// The cluster in its label.
        cluster: String,
        /// The label that is missing or unreadable.
        why: String,
    },
    /// Somebody else created it.
    Strangers,
}

/// A label that the API does not accept.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum LabelError {
    /// The key is not valid.
    #[error(
        "label key `{0}` is not valid: expected [prefix/]name, with a name of at most 63 characters A-Z a-z 0-9 - _ ."
    )]
    Key(String),
    /// The value is not valid.
    #[error(
        "label {key}: `{value}` is not valid: expected at most 63 characters A-Z a-z 0-9 - _ . with a letter or digit at both ends"
    )]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The cluster's name lacks the prefix.
    #[error("cluster name `{0}` does not begin with {NAME_PREFIX}")]
    Cluster(String),
}

impl Mark {
    /// The labels for a new resource. The owner may be any text: characters that a label cannot hold become `-`.
    ///
    /// # Errors
    /// If the name of the cluster or the run is not a valid label value.
    pub(crate) fn labels(&self) -> Result<Labels, LabelError> {
        if !self.cluster.starts_with(NAME_PREFIX) {
            return Err(LabelError::Cluster(self.cluster.clone()));
        }
        let owner = as_value(&self.owner);
        let labels = [
            (CLUSTER, self.cluster.clone()),
            (RUN, self.run.clone()),
            (OWNER, owner),
            (EXPIRES, self.expires_unix_s.to_string()),
        ];
        let labels: Labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
        check(&labels)?;
        Ok(labels)
    }

    /// Whether the resource has expired.
    pub(crate) fn is_expired(&self, now_unix_s: i64) -> bool {
        self.expires_unix_s <= now_unix_s
    }
}

impl Claim {
    /// Reads the labels of a resource.
    pub(crate) fn of(labels: &Labels) -> Self {
        let Some(cluster) = labels.get(CLUSTER).filter(|name| is_ours(name)) else { return Claim::Strangers };
        match mark_of(cluster, labels) {
            Ok(mark) => Claim::Ours(mark),
            Err(why) => Claim::Damaged { cluster: cluster.clone(), why },
        }
    }

    /// The cluster, if it is one of ours.
    pub(crate) fn cluster(&self) -> Option<&str> {
        match self {
            Claim::Ours(Mark { cluster, .. }) | Claim::Damaged { cluster, .. } => Some(cluster),
            Claim::Strangers => None,
        }
    }
}

fn mark_of(cluster: &str, labels: &Labels) -> Result<Mark, String> {
    let get = |key: &str| labels.get(key).cloned().ok_or_else(|| format!("label {key} is missing"));
    let expires = get(EXPIRES)?;
    let expires_unix_s = expires.parse().map_err(|_| format!("label {EXPIRES} is `{expires}`"))?;
    Ok(Mark { cluster: cluster.to_owned(), run: get(RUN)?, owner: get(OWNER)?, expires_unix_s })
}

/// The label selector of a cluster's resources.
pub(crate) fn selector_of(cluster: &str) -> String {
    format!("{CLUSTER}={cluster}")
}

/// The label selector of all of firedrill's resources.
pub(crate) fn selector_of_all() -> String {
    CLUSTER.to_owned()
}

fn is_ours(cluster: &str) -> bool {
    cluster.len() > NAME_PREFIX.len() && cluster.starts_with(NAME_PREFIX)
}

/// Checks labels against Hetzner's grammar.
///
/// # Errors
/// Names the first label that is not valid.
pub(crate) fn check(labels: &Labels) -> Result<(), LabelError> {
    for (key, value) in labels {
        if !is_key(key) {
            return Err(LabelError::Key(key.clone()));
        }
        if !value.is_empty() && !is_word(value) {
            return Err(LabelError::Value { key: key.clone(), value: value.clone() });
        }
    }
    Ok(())
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_word(key),
        // Hetzner keeps its own prefix to itself.
        Some((prefix, name)) => is_prefix(prefix) && prefix != "hetzner.cloud" && is_word(name),
    }
}

fn is_prefix(prefix: &str) -> bool {
    let is_part = |part: &str| {
        let is_inside = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        is_inside && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(is_part)
}

fn is_word(word: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = word.as_bytes();
    bytes.len() <= WORD_BYTES_MAX && bytes.iter().all(is_inside) && is_end(bytes.first()) && is_end(bytes.last())
}

fn is_inside(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Converts any text to a label value, which may be empty.
fn as_value(text: &str) -> String {
    let kept = text.chars().map(|c| if c.is_ascii() && is_inside(&(c as u8)) { c } else { '-' });
    let kept: String = kept.take(WORD_BYTES_MAX).collect();
    kept.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let owner = "ann-example.com".to_owned();
        Mark { cluster: "firedrill-a3f".to_owned(), run: "run-7".to_owned(), owner, expires_unix_s: 1_800_000_000 }
    }

    #[test]
    fn labels_say_what_is_ours() {
        let labels = mark().labels().unwrap();
        assert_eq!(labels[EXPIRES], "1800000000");
        assert_eq!(Claim::of(&labels), Claim::Ours(mark()));
        assert!(mark().is_expired(1_800_000_000) && !mark().is_expired(1_799_999_999));
    }

    #[test]
    fn everything_else_is_a_strangers() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for strangers in [
            labels(&[]),
            labels(&[(RUN, "run-7"), (OWNER, "ann"), (EXPIRES, "1")]),
            labels(&[(CLUSTER, "production")]),
            labels(&[(CLUSTER, "")]),
            labels(&[(CLUSTER, NAME_PREFIX)]),
            labels(&[("cluster", "firedrill-a3f")]),
        ] {
            assert_eq!(Claim::of(&strangers), Claim::Strangers, "{strangers:?}");
        }
    }

    #[test]
    fn a_changed_label_is_not_taken_for_an_expiry() {
        for (key, value) in [(EXPIRES, Some("tomorrow")), (EXPIRES, None), (RUN, None), (OWNER, None)] {
            let mut labels = mark().labels().unwrap();
            match value {
                Some(value) => labels.insert(key.to_owned(), value.to_owned()),
                None => labels.remove(key),
            };
            let claim = Claim::of(&labels);
            assert!(matches!(&claim, Claim::Damaged { why, .. } if why.contains(key)), "{claim:?}");
            assert_eq!(claim.cluster(), Some("firedrill-a3f"));
        }
    }

    #[test]
    fn an_owner_may_be_any_text() {
        let long = "x".repeat(80);
        for (owner, value) in [
            ("ann@example.com", "ann-example.com"),
            ("Ann Other", "Ann-Other"),
            ("<ünï>", "n"),
            ("@@", ""),
            (long.as_str(), &long[..63]),
        ] {
            let labels = Mark { owner: owner.to_owned(), ..mark() }.labels().unwrap();
            assert_eq!(labels[OWNER], value);
        }
    }

    #[test]
    fn labels_that_the_api_would_refuse_are_refused_here() {
        let check = |key: &str, value: &str| check(&[(key.to_owned(), value.to_owned())].into());
        let long = "x".repeat(64);
        for key in ["a", "A-b_c.9", "example.com/a", "a.b-c/x"] {
            assert_eq!(check(key, ""), Ok(()), "{key}");
        }
        for key in ["", "-a", "a-", "a b", "a:b", "a/b/c", "/a", "a/", "Ex.com/a", "a..b/c", "hetzner.cloud/x", &long] {
            assert_eq!(check(key, ""), Err(LabelError::Key(key.to_owned())), "{key}");
        }
        for value in ["", "a", "1800000000", "a-b_c.d", &long[..63]] {
            assert_eq!(check("k", value), Ok(()), "{value}");
        }
        for value in ["2027-01-15T08:00:00Z", "-a", "a.", "a b", "ü", &long] {
            assert!(matches!(check("k", value), Err(LabelError::Value { .. })), "{value}");
        }
        let foreign = Mark { cluster: "production".to_owned(), ..mark() };
        assert_eq!(foreign.labels(), Err(LabelError::Cluster("production".to_owned())));
        let bad = Mark { run: "a:b".to_owned(), ..mark() };
        assert!(bad.labels().is_err());
    }
}
