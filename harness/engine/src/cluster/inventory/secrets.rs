//! Secrets, by a digest of their contents, and Helm's releases, which Helm records in Secrets.

use super::super::discovery::Kind;
use super::super::{Cluster, ClusterError, ObjectKey};
use super::content::{is_derived, is_ending};
use super::{Entry, is_of_a_pod};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::core::ObjectMeta;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Under which releases are listed: no API version of Kubernetes.
pub(super) const RELEASE_API_VERSION: &str = "helm.sh/release";
/// Objects in one answer.
const PAGE: u32 = 500;
const KEY_BYTES: usize = 32;
/// Bytes of a digest that are kept.
const DIGEST_BYTES: usize = 16;

/// Types of Secrets that are not read. Helm's records are compared as releases; tokens of service accounts and for joining
/// nodes are made, renewed and taken away by Kubernetes itself.
const NOT_READ: &str =
    "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token";
/// Keys that hold certificates and what belongs to them: whoever issued them renews them by itself.
const OF_CERTIFICATES: [&str; 5] = ["ca.crt", "ca.key", "tls.crt", "tls.key", "keystore.p12"];

/// With what the contents of Secrets are digested. Drawn anew for each run: a digest says whether a content has changed, and
/// without the key nobody can find a short one by trying.
#[derive(Clone)]
pub struct DigestKey([u8; KEY_BYTES]);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl DigestKey {
    /// A key of its own.
    ///
    /// # Errors
    /// Where the operating system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(Self(bytes))
    }

    /// As text, to be kept where nobody else can read it.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// From that text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// A digest of a Secret's type and contents. Lengths are part of it, so that no two contents read alike.
    fn digest(&self, kind: &str, data: &BTreeMap<&str, &[u8]>) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        let mut add = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        add(kind.as_bytes());
        for (name, value) in data {
            add(name.as_bytes());
            add(value);
        }
        hex(&context.sign().as_ref()[..DIGEST_BYTES])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Cluster {
    /// Secrets with the digests of their contents, and the releases that Helm has records of.
    pub(super) async fn secrets(&self, kind: &Kind, key: &DigestKey) -> Result<Vec<(ObjectKey, Entry)>, ClusterError> {
        let records = self.list_metadata(kind, "owner=helm").await?;
        let mut entries = releases(records.iter().map(|record| &record.metadata));
        let api: Api<Secret> = Api::all(self.client());
        let mut params = ListParams::default().fields(NOT_READ).limit(PAGE);
        loop {
            let list = self.ask("secrets", api.list(&params)).await?;
            let lasting = list.items.iter().filter(|secret| !is_of_a_pod(&secret.metadata));
            entries.extend(lasting.map(|secret| with_digest(kind, secret, key)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(entries),
            }
        }
    }
}

/// A Secret with its digest. What an operator made for one of its objects it also renews, as CNPG does certificates: of such
/// a one only its type is compared.
pub(super) fn with_digest(kind: &Kind, secret: &Secret, key: &DigestKey) -> (ObjectKey, Entry) {
    let is_compared = |name: &str| !is_derived(&secret.metadata) && !OF_CERTIFICATES.contains(&name);
    let data = secret.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.as_slice()));
    let data = data.filter(|(name, _)| is_compared(name)).collect();
    let spec = key.digest(secret.type_.as_deref().unwrap_or_default(), &data);
    (kind.key(&secret.metadata), Entry { spec, ending: is_ending(&secret.metadata), ..Entry::default() })
}

/// Helm's releases, each with the status of its latest revision. Which revision that is says nothing: a rollback makes one more.
pub(super) fn releases<'a>(records: impl Iterator<Item = &'a ObjectMeta>) -> Vec<(ObjectKey, Entry)> {
    let mut latest: BTreeMap<ObjectKey, (u32, String)> = BTreeMap::new();
    for metadata in records.filter(|metadata| is_helm_record(metadata)) {
        let label = |name: &str| metadata.labels.as_ref()?.get(name).cloned();
        let (Some(name), Some(status)) = (label("name"), label("status")) else { continue };
        let Some(revision) = label("version").and_then(|version| version.parse().ok()) else { continue };
        let key = ObjectKey {
            api_version: RELEASE_API_VERSION.to_owned(),
            kind: "Release".to_owned(),
            namespace: metadata.namespace.clone(),
            name,
        };
        let known = latest.entry(key).or_default();
        if revision >= known.0 {
            *known = (revision, status);
        }
    }
    let entry = |status| Entry { state: status, ..Entry::default() };
    latest.into_iter().map(|(key, (_, status))| (key, entry(status))).collect()
}

/// Whether a release of this status is as its chart and values say.
pub(super) fn is_deployed(status: &str) -> bool {
    status == "deployed"
}

/// Whether Helm is at work on a release of this status, or was when it died.
pub(super) fn is_changing(status: &str) -> bool {
    status.starts_with("pending-") || status == "uninstalling"
}

/// Whether it is one of Helm's records of a release: each upgrade makes one more, a rollback as well.
pub(super) fn is_helm_record(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| labels.get("owner").is_some_and(|owner| owner == "helm"))
        && metadata.name.as_ref().is_some_and(|name| name.starts_with("sh.helm.release.v1."))
}
