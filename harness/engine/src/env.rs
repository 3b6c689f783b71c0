//! The only place that reads the process's environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// Variables that hold the token of a provider, or name its file. No program that firedrill starts sees them.
pub const SECRETS: [&str; 2] = ["HCLOUD_TOKEN", "HCLOUD_TOKEN_FILE"];

/// The value of a variable, where it is set, is text and is not empty.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable as the system has it, where it is set and not empty.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The variable that names an image of the stack, the nodes or the agent: `FIREDRILL_AGENT_IMAGE`.
pub fn of_image(name: &str) -> String {
    format!("FIREDRILL_{}_IMAGE", upper(name))
}

/// The variable that names an operator's release manifest: `FIREDRILL_CNPG_MANIFEST`.
pub fn of_manifest(name: &str) -> String {
    format!("FIREDRILL_{}_MANIFEST", upper(name))
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// `${XDG_CACHE_HOME:-~/.cache}/firedrill`; `None` where neither variable is set.
pub fn cache_dir() -> Option<PathBuf> {
    raw("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| raw("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|base| base.join("firedrill"))
}

/// What credential plugins of kubeconfigs read: the user's home and login, and the settings of cloud providers' tools.
/// `KUBERNETES_EXEC_INFO`, and what the kubeconfig itself sets for the plugin, is kubectl's to add.
pub fn of_credential_plugins() -> Vec<(OsString, OsString)> {
    all().filter(|(name, _)| name.to_str().is_some_and(is_of_credential_plugins)).collect()
}

/// For people: what [`of_credential_plugins`] returns.
pub const CREDENTIAL_PLUGIN_VARIABLES: &str = "HOME, USER, XDG_*, AWS_*, GOOGLE_*, CLOUDSDK_*, AZURE_*, AAD_*";

fn is_of_credential_plugins(name: &str) -> bool {
    const NAMES: [&str; 7] = ["HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    const PREFIXES: [&str; 6] = ["XDG_", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "AAD_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Starts this program anew, in its own place, without the variables that libraries read behind its back. Returns where there
/// are none.
///
/// The PostgreSQL client takes `PG*` for what an address does not say, and some of these cannot be overridden: a caller's
/// `PGOPTIONS` or `PGSSLROOTCERT` would change what a probe measures.
///
/// # Errors
/// Where it cannot be started.
pub fn without_foreign_variables() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt;
    let foreign: Vec<_> = all().map(|(name, _)| name).filter(|name| is_foreign(name.as_encoded_bytes())).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let mut args = std::env::args_os();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args);
    for name in foreign {
        command.env_remove(name);
    }
    Err(command.exec())
}

fn is_foreign(name: &[u8]) -> bool {
    name.strip_prefix(b"PG").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_uppercase))
}

/// The name of this machine.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn all() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_apart_by_their_names() {
        for kept in ["HOME", "AWS_PROFILE", "XDG_CONFIG_HOME", "CLOUDSDK_CONFIG", "AZURE_CLIENT_ID"] {
            assert!(is_of_credential_plugins(kept), "{kept}");
        }
        for cleared in
            ["KUBECONFIG", "HELM_NAMESPACE", "KUBECTL_EXTERNAL_DIFF", "PGHOST", "LD_PRELOAD", "HOMEX", "BASH_ENV"]
        {
            assert!(!is_of_credential_plugins(cleared), "{cleared}");
        }
        assert!(["PGHOST", "PGOPTIONS", "PGSSLROOTCERT", "PGPASSFILE"].iter().all(|name| is_foreign(name.as_bytes())));
        assert!(["PG", "PG_X", "PATH", "HOME", "XPGHOST"].iter().all(|name| !is_foreign(name.as_bytes())));
    }
}
