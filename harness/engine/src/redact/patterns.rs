//! What looks like a credential, whoever made it.

use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What is looked for, and what is written in its place. Of a pattern with a group `value` only that is replaced.
static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let value = r#"(?:\\?"(?P<quoted>[^"\\\n]+)|'(?P<single>[^'\n]+)|(?P<value>[^ \t\r\n"'\\,;&|)}\]]+))"#;
    [
        // A key of PEM, also where its end was cut off.
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)".to_owned(), "private key"),
        // The same in Base64.
        ("LS0tLS1CRUdJTi[A-Za-z0-9+/=]{16,}".to_owned(), "private key or certificate"),
        // A JSON Web Token: Base64 of `{"`.
        (r"(?-u:\b)eyJ[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]*){0,2}".to_owned(), "token"),
        (r"(?i-u:\bbearer[ \t]+)(?P<value>[A-Za-z0-9._~+/=-]{16,})".to_owned(), "token"),
        (r"(?i-u:\bauthorization)\\?[^A-Za-z0-9\n]{1,5}(?i-u:basic[ \t]+)(?P<value>[A-Za-z0-9+/=]{4,})".to_owned(), "password"),
        // The login of a URL.
        (r#"(?-u:\b)[A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/@:'"]*:(?P<value>[^ \t\r\n/@'"]+)@"#.to_owned(), "password"),
        (r#"(?i-u:\b(?:nats|tls|wss?)://)(?P<value>[^ \t\r\n/@:'"]{6,})@"#.to_owned(), "token"),
        // Settings and variables by their names: `PGPASSWORD=`, `HCLOUD_TOKEN=`, `password=`.
        (format!(r"(?i-u:password|passwd|passphrase|(?:secret|access|private|api)[_-]?key|token|(?:client|app|shared|auth)[_-]?secret)={value}"), "password or token"),
        (format!(r#"(?i-u:\b(?:[a-z0-9_.-]*password|passwd|passphrase|client-key-data|(?:id|access|refresh|auth)[_-]?token))\\?["']?[ \t]*:[ \t]*{value}"#), "password or token"),
        (format!("(?i-u:--(?:[a-z0-9-]+-)?(?:password|token|secret))(?:=|[ \t]+){value}"), "password or token"),
        // An entry of a container's environment.
        (r#"(?i-u:"name":[ \t]*"[a-z0-9_]*(?:password|token|secret|key)",[ \t\r\n]*"value":[ \t]*)"(?P<quoted>[^"]+)"#.to_owned(), "password or token"),
        (r"(?-u:\b)(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)".to_owned(), "access key"),
        (r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})".to_owned(), "token"),
        // A seed of NATS.
        (r"(?-u:\b)S[AUNOCX][A-Z2-7]{56}(?-u:\b)".to_owned(), "key"),
    ]
    .into_iter()
    // A pattern that does not compile is found by the test of them all.
    .filter_map(|(pattern, what)| Some((Regex::new(&pattern).ok()?, what)))
    .collect()
});

/// The text without what looks like a credential. A variable or a placeholder in its place is none, and stays.
pub(super) fn redact(text: &str) -> String {
    let mut clean = text.to_owned();
    for (pattern, what) in PATTERNS.iter() {
        let replaced = match pattern.replace_all(&clean, |found: &Captures<'_>| replacement(found, what)) {
            Cow::Owned(replaced) => replaced,
            Cow::Borrowed(_) => continue,
        };
        clean = replaced;
    }
    clean
}

fn replacement(found: &Captures<'_>, what: &str) -> String {
    let Some(whole) = found.get(0) else { return String::new() };
    let value = ["value", "quoted", "single"].iter().find_map(|group| found.name(group));
    let Some(value) = value else {
        let names_a_value = found.len() > 1;
        return if names_a_value { whole.as_str().to_owned() } else { format!("[redacted: {what}]") };
    };
    let is_no_secret = ["$", "<", "`", "[redacted", "{{", "***"].iter().any(|start| value.as_str().starts_with(start));
    if is_no_secret {
        return whole.as_str().to_owned();
    }
    let (from, to) = (value.start() - whole.start(), value.end() - whole.start());
    format!("{}[redacted: {what}]{}", &whole.as_str()[..from], &whole.as_str()[to..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_patterns_compile() {
        assert_eq!(PATTERNS.len(), 14);
    }

    #[test]
    fn what_looks_like_a_credential_is_taken_out() {
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N";
        let secrets = [
            (format!("token is {jwt} ok"), jwt.to_owned()),
            (format!("Authorization: Bearer {jwt}"), jwt.to_owned()),
            ("curl -H 'Authorization: Bearer abcdef0123456789abcd'".to_owned(), "abcdef0123456789abcd".to_owned()),
            ("Authorization: Basic dXNlcjpodW50ZXIy".to_owned(), "dXNlcjpodW50ZXIy".to_owned()),
            ("psql postgres://app:hunter2@db:5432/app".to_owned(), "hunter2".to_owned()),
            ("nats -s nats://u:hun%ter2@nats:4222 pub".to_owned(), "hun%ter2".to_owned()),
            ("nats://s3cr3t-token@nats:4222".to_owned(), "s3cr3t-token".to_owned()),
            ("host=db user=app password=hunter2 dbname=x".to_owned(), "hunter2".to_owned()),
            ("PGPASSWORD=hunter2 psql".to_owned(), "hunter2".to_owned()),
            ("PGPASSWORD='hunter 2' psql".to_owned(), "hunter 2".to_owned()),
            (format!("HCLOUD_TOKEN={} hcloud", "a1B2".repeat(16)), "a1B2a1B2".to_owned()),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG".to_owned(), "wJalrXUtnFEMI".to_owned()),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), "AKIAIOSFODNN7EXAMPLE".to_owned()),
            ("kubectl --token abcdef get pods".to_owned(), "abcdef".to_owned()),
            ("kubectl --token=abcdef get pods".to_owned(), "abcdef".to_owned()),
            ("mc --admin-password 'hunter2'".to_owned(), "hunter2".to_owned()),
            (r#"{"password": "hunter2", "a": 1}"#.to_owned(), "hunter2".to_owned()),
            (r#"say "{\"password\":\"hunter2\"}""#.to_owned(), "hunter2".to_owned()),
            ("  adminPassword: hunter2\n".to_owned(), "hunter2".to_owned()),
            ("{\"name\": \"DB_PASSWORD\",\n  \"value\": \"hunter2\"}".to_owned(), "hunter2".to_owned()),
            ("ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned(), "ghp_0123".to_owned()),
            (format!("SU{}", "AB234567".repeat(7)), "AB234567".to_owned()),
            ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----".to_owned(), "MHcCAQ".to_owned()),
            ("x -----BEGIN PRIVATE KEY-----\nMIIEvQ\n".to_owned(), "MIIEvQ".to_owned()),
            ("client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=".to_owned(), "LS0tLS1C".to_owned()),
        ];
        for (text, secret) in secrets {
            let clean = redact(&text);
            assert!(!clean.contains(&secret) && clean.contains("[redacted: "), "{text} -> {clean}");
            assert_eq!(redact(&clean), clean, "once is enough");
        }
    }

    #[test]
    fn what_is_no_credential_stays() {
        for text in [
            "PGPASSWORD=$PGPASSWORD psql -h db",
            "PGPASSWORD=\"$(kubectl get secret ironflow-db-app -o jsonpath='{.data.password}' | base64 -d)\" psql",
            "kubectl create secret generic x --from-literal=token=<token>",
            "kubectl get secret ironflow-db-app -n ironflow",
            "password authentication failed for user \"app\"",
            "bearer authentication is off",
            "http://db:8080/a@b and http://user@host/ and https://example.com",
            "token: must be given",
            "secret: ironflow-db-app",
            r#"{"secretName": "ironflow-db-app", "automountServiceAccountToken": true}"#,
            "pod ironflow-nats-0 is Ready, 3 of 3",
            "grep -c password= file",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
