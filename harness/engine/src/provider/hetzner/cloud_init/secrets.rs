//! The secrets of a cluster: its CAs, the service account key, the administrator's certificate and the bootstrap token. They are
//! created before the first server, so all servers boot in parallel and nobody needs SSH.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;
use thiserror::Error;

/// Validity of the CAs and the administrator's certificate, longer than any drill cluster lives.
const VALID_DAYS: i64 = 90;
const DAY_S: i64 = 24 * 3600;
const TOKEN_LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// kubeadm's CAs: file name without extension, and common name.
const AUTHORITIES: [(&str, &str); 3] =
    [("ca", "kubernetes"), ("etcd/ca", "etcd-ca"), ("front-proxy-ca", "kubernetes-front-proxy-ca")];

/// The secrets of a cluster. `Debug` prints none of them. Their JSON belongs only in a file of mode 0600.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterSecrets {
    authorities: Vec<Authority>,
    service_account_key: String,
    service_account_public_key: String,
    admin_certificate: String,
    admin_key: String,
    /// SHA-256 of the cluster CA's public key, by which a joining node authenticates the API server. Not a secret.
    authority_hash: String,
    bootstrap_token: BootstrapToken,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Authority {
    /// `etcd/ca`
    file: String,
    certificate: String,
    key: String,
}

/// A bootstrap token: `abcdef.0123456789abcdef`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootstrapToken(String);

impl fmt::Debug for ClusterSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecrets(hidden)")
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootstrapToken(hidden)")
    }
}

/// The secrets cannot be created.
#[derive(Debug, Error)]
pub(crate) enum SecretsError {
    /// A certificate cannot be created.
    #[error("a certificate cannot be created: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    Random,
    /// The time is out of range.
    #[error("the system time is out of range for a certificate")]
    Clock,
}

impl BootstrapToken {
    /// Generates a random token.
    ///
    /// # Errors
    /// If the system's random number generator failed.
    pub(crate) fn generate() -> Result<Self, SecretsError> {
        let random = SystemRandom::new();
        let mut token = String::with_capacity(23);
        while token.len() < 23 {
            let mut byte = [0];
            random.fill(&mut byte).map_err(|_| SecretsError::Random)?;
            if token.len() == 6 {
                token.push('.');
            }
            // 252 is the largest multiple of 36 in a byte: above it, the first letters would be likelier.
            if byte[0] < 252 {
                token.push(char::from(TOKEN_LETTERS[usize::from(byte[0] % 36)]));
            }
        }
        Ok(Self(token))
    }

    /// The token itself, which is secret.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The Kubernetes Secret that makes the API server accept the token until then (RFC 3339).
    pub(crate) fn secret(&self, until: &str) -> serde_json::Value {
        let (id, rest) = self.0.split_at(6);
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
            "stringData": {
                "token-id": id, "token-secret": rest.trim_start_matches('.'), "expiration": until,
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
                "auth-extra-groups": super::JOIN_GROUP,
            },
        })
    }
}

impl ClusterSecrets {
    /// Generates secrets. Certificates are valid from a day before now (seconds since the epoch).
    ///
    /// # Errors
    /// If a certificate or a random number cannot be created.
    pub(crate) fn generate(now_unix_s: i64) -> Result<Self, SecretsError> {
        let (mut authorities, mut cluster) = (Vec::new(), None);
        let mut authority_hash = String::new();
        for (file, name) in AUTHORITIES {
            let key = KeyPair::generate()?;
            let mut params = params(name, now_unix_s)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages =
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
            let certificate = params.self_signed(&key)?.pem();
            authorities.push(Authority { file: file.to_owned(), certificate, key: key.serialize_pem() });
            if cluster.is_none() {
                let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
                authority_hash = format!("sha256:{}", hexadecimal(digest.as_ref()));
                cluster = Some(Issuer::new(params, key));
            }
        }
        let issuer = cluster.expect("there is at least one authority");
        let service_account = KeyPair::generate()?;
        let admin = KeyPair::generate()?;
        let mut params = params("firedrill", now_unix_s)?;
        // The one group that needs no rule in the cluster: nobody can make these before the API server is there.
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self {
            authority_hash,
            admin_certificate: params.signed_by(&admin, &issuer)?.pem(),
            admin_key: admin.serialize_pem(),
            authorities,
            service_account_key: service_account.serialize_pem(),
            service_account_public_key: service_account.public_key_pem(),
            bootstrap_token: BootstrapToken::generate()?,
        })
    }

    /// Files below `/etc/kubernetes/pki` of a control plane: path, content, and whether it is private.
    pub(super) fn files(&self) -> Vec<(String, &str, bool)> {
        let mut files = Vec::new();
        for Authority { file, certificate, key } in &self.authorities {
            files.push((format!("{file}.crt"), certificate.as_str(), false));
            files.push((format!("{file}.key"), key.as_str(), true));
        }
        files.push(("sa.pub".to_owned(), &self.service_account_public_key, false));
        files.push(("sa.key".to_owned(), &self.service_account_key, true));
        files
    }

    /// The hash by which a joining node authenticates the API server.
    pub(super) fn authority_hash(&self) -> &str {
        &self.authority_hash
    }

    /// The token by which the API server authenticates a joining node.
    pub(super) fn bootstrap_token(&self) -> &BootstrapToken {
        &self.bootstrap_token
    }

    /// The administrator's kubeconfig for an API server (`192.0.2.7:6443`), as JSON. It belongs in a file of mode 0600.
    pub(crate) fn kubeconfig(&self, cluster: &str, api_server: &str) -> String {
        use base64::Engine;
        let encoded = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let authority = self.authorities.first().map_or("", |authority| authority.certificate.as_str());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": cluster,
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": "firedrill"}}],
            "clusters": [{"name": cluster, "cluster": {
                "server": format!("https://{api_server}"), "certificate-authority-data": encoded(authority),
            }}],
            "users": [{"name": "firedrill", "user": {
                "client-certificate-data": encoded(&self.admin_certificate), "client-key-data": encoded(&self.admin_key),
            }}],
        });
        config.to_string()
    }

    /// The same secrets with another bootstrap token.
    pub(crate) fn with_bootstrap_token(&self, token: BootstrapToken) -> Self {
        Self { bootstrap_token: token, ..self.clone() }
    }

    /// All secrets with their labels, for the redactor.
    pub(crate) fn reveal(&self) -> Vec<(&'static str, &str)> {
        let mut all: Vec<_> =
            self.authorities.iter().map(|authority| ("key of a cluster's authority", authority.key.as_str())).collect();
        all.push(("key of a cluster's service accounts", &self.service_account_key));
        all.push(("key of a cluster's administrator", &self.admin_key));
        all.push(("bootstrap token of a cluster", self.bootstrap_token.reveal()));
        all
    }
}

fn params(name: &str, now_unix_s: i64) -> Result<CertificateParams, SecretsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let day = |unix_s: i64| {
        let time = jiff::Timestamp::from_second(unix_s).map_err(|_| SecretsError::Clock)?;
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).map_err(|_| SecretsError::Clock);
        Ok::<_, SecretsError>(date_time_ymd(date.year().into(), part(date.month())?, part(date.day())?))
    };
    // A server whose clock is late must not find them not yet valid.
    params.not_before = day(now_unix_s - DAY_S)?;
    params.not_after = day(now_unix_s + VALID_DAYS * DAY_S)?;
    Ok(params)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_796_083_200;

    #[test]
    fn every_cluster_has_secrets_of_its_own() {
        let (one, other) = (ClusterSecrets::generate(NOW).unwrap(), ClusterSecrets::generate(NOW).unwrap());
        assert_ne!(one.authority_hash, other.authority_hash);
        for ((label, a), (_, b)) in one.reveal().into_iter().zip(other.reveal()) {
            assert_ne!(a, b, "{label}");
        }
        assert_eq!(one.reveal().len(), 6);
        let hash = one.authority_hash.strip_prefix("sha256:").unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }

    #[test]
    fn tokens_are_kubeadms() {
        for _ in 0..50 {
            let token = BootstrapToken::generate().unwrap();
            let (id, rest) = token.reveal().split_once('.').unwrap();
            let is_word = |text: &str| text.bytes().all(|byte| TOKEN_LETTERS.contains(&byte));
            assert!(id.len() == 6 && rest.len() == 16 && is_word(id) && is_word(rest), "{}", token.reveal());
            let secret = token.secret("2026-12-01T13:00:00Z");
            assert_eq!(secret["metadata"]["name"], format!("bootstrap-token-{id}"));
            assert_eq!(secret["stringData"]["token-secret"], rest);
        }
    }

    #[test]
    fn a_kubeconfig_names_the_authority_and_the_administrator() {
        use base64::Engine;
        let secrets = ClusterSecrets::generate(NOW).unwrap();
        let config: serde_json::Value =
            serde_json::from_str(&secrets.kubeconfig("firedrill-a3f", "192.0.2.7:6443")).unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://192.0.2.7:6443");
        let decoded = |value: &serde_json::Value| {
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap())
                .unwrap()
        };
        assert_eq!(decoded(&cluster["certificate-authority-data"]), secrets.authorities[0].certificate);
        let user = &config["users"][0]["user"];
        assert!(decoded(&user["client-certificate-data"]).starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(decoded(&user["client-key-data"]).starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn they_survive_their_file_and_nothing_shows_them() {
        let secrets = ClusterSecrets::generate(NOW).unwrap();
        let json = serde_json::to_string(&secrets).unwrap();
        assert_eq!(serde_json::from_str::<ClusterSecrets>(&json).unwrap(), secrets);
        let shown = format!("{secrets:?} {:?}", secrets.bootstrap_token);
        assert_eq!(shown, "ClusterSecrets(hidden) BootstrapToken(hidden)");
        assert!(matches!(ClusterSecrets::generate(i64::MAX - VALID_DAYS * DAY_S), Err(SecretsError::Clock)));
    }
}
