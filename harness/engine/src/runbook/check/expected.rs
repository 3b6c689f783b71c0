//! What a runbook says that a command shows, held against what it shows on a healthy cluster.

use super::ask::{Asker, Trouble};
use super::found::Found;
use firedrill_core::document::{Claim, ClaimKind, FindingKind};
use firedrill_core::shell::Word;

/// Where CNPG's manager is in each of its instances.
const CNPG_MANAGER: &str = "/controller/manager";
/// A phase that every version of it knows: whoever finds this can find others.
const CNPG_HEALTHY: &str = "Cluster in healthy state";

/// Holds what is claimed against `output`, what the command showed.
///
/// # Errors
/// Where the API server does not answer.
pub(super) async fn check(
    asker: &mut Asker,
    claims: &[Claim],
    output: &str,
    cluster: Option<&CnpgCluster>,
    found: &mut Found,
) -> Result<(), Trouble> {
    for claim in claims {
        let span = claim.span.clone();
        match &claim.kind {
            ClaimKind::Equals(key, value) => match field(output, key) {
                Some(held) if held == *value => {}
                Some(held) => {
                    let message = format!("a healthy cluster shows `{key}` as {}, not {value}", printed(key, &held));
                    found.add(FindingKind::NotShown, span, message, None);
                }
                None => found.add(FindingKind::NotShown, span, format!("a healthy cluster shows no `{key}`"), None),
            },
            ClaimKind::Shows(text) if output.contains(text) => {}
            ClaimKind::Shows(text) => {
                found.add(FindingKind::NotShown, span, format!("a healthy cluster does not show `{text}`"), None);
            }
            ClaimKind::Expects(text) if output.contains(text) => {}
            ClaimKind::Expects(text) | ClaimKind::ShowsFirst(text) => {
                let pair = text.trim_matches(|c: char| ", ".contains(c)).split_once("\":");
                let key = pair.map(|(key, value)| (key.trim_start_matches('"'), value));
                if let Some((key, value)) = key.filter(|(_, value)| !value.trim().is_empty())
                    && let Some(held) = field(output, key)
                {
                    let held = printed(key, &held);
                    let message = format!("a healthy cluster shows `{key}` as {held}, not {}", value.trim());
                    found.add(FindingKind::NotShown, span, message, None);
                } else if let Some(cluster) = cluster
                    && cluster.knows_phase(asker, CNPG_HEALTHY).await?
                    && !cluster.knows_phase(asker, text).await?
                {
                    let known = cluster.knows_phase(asker, "Failing over").await? && text.contains("ailover");
                    let hint = known.then(|| "it calls this phase `Failing over`".to_owned());
                    found.add(
                        FindingKind::NotShown,
                        span,
                        format!("the operator that runs here has no phase `{text}`"),
                        hint,
                    );
                } else {
                    found.skip(
                        span,
                        format!("a healthy cluster does not show `{text}`: only a fault can show whether it comes"),
                    );
                }
            }
        }
    }
    Ok(())
}

/// The value of a field in JSON, as it is written there, wherever it stands.
fn field(output: &str, key: &str) -> Option<String> {
    let mark = format!("\"{key}\":");
    let rest = output[output.find(&mark)? + mark.len()..].trim_start();
    let end = rest.find([',', '}', ']', '\n']).unwrap_or(rest.len());
    Some(rest[..end].trim().to_owned())
}

/// What a report says of a field's value: a stranger chose the field, and it may be a password.
fn printed<'v>(key: &str, held: &'v str) -> &'v str {
    let key = key.to_ascii_lowercase();
    let is_secret = ["pass", "secret", "token", "key", "cred", "auth"].iter().any(|part| key.contains(part));
    let is_short = held.len() <= 64 && !held.chars().any(char::is_control);
    if is_secret || !is_short { "something else" } else { held }
}

/// A database cluster whose phase a command shows.
pub(super) struct CnpgCluster {
    /// `kubectl exec POD ... --`
    exec: Vec<String>,
}

impl CnpgCluster {
    /// The one that `kubectl get cluster NAME -n NAMESPACE` shows, where it is one of CNPG's with an instance.
    ///
    /// # Errors
    /// Where the API server does not answer.
    pub(super) async fn of(asker: &mut Asker, words: &[Word]) -> Result<Option<Self>, Trouble> {
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let [
            "kubectl",
            "get" | "describe",
            "cluster" | "clusters" | "clusters.postgresql.cnpg.io",
            name,
            "-n",
            namespace,
            ..,
        ] = words.as_slice()
        else {
            return Ok(None);
        };
        let label = format!("cnpg.io/cluster={name},cnpg.io/podRole=instance");
        let pods = asker.ask(&["kubectl", "get", "pods", "-n", namespace, "-l", &label, "-o", "name"]).await?.stdout;
        Ok(pods.lines().next().map(|pod| {
            let exec = ["kubectl", "exec", pod, "-n", namespace, "-c", "postgres", "--"];
            Self { exec: exec.map(str::to_owned).into() }
        }))
    }

    /// Whether the manager's program holds this text, which it would have to print.
    async fn knows_phase(&self, asker: &mut Asker, phase: &str) -> Result<bool, Trouble> {
        let question: Vec<&str> =
            self.exec.iter().map(String::as_str).chain(["grep", "-q", "-a", "-F", "--", phase, CNPG_MANAGER]).collect();
        Ok(asker.ask(&question).await?.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_it_is_written() {
        assert_eq!(field("{\n  \"num_routes\": 8,\n", "num_routes").as_deref(), Some("8"));
        assert_eq!(field("{\"a\":\"b\"}", "a").as_deref(), Some("\"b\""));
        assert_eq!(field("{}", "a"), None);
        assert_eq!((printed("num_routes", "8"), printed("adminPassword", "8")), ("8", "something else"));
    }
}
