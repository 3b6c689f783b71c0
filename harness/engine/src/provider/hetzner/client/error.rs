//! Errors of the API, with hints.

use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// A failed request or action.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The API refused the request.
    #[error("Hetzner refused {request}: {message} ({code}, HTTP {status}){}", hint_of(code, message))]
    Refused {
        /// The request: `POST /servers`.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Hetzner's error code.
        code: Code,
        /// Hetzner's message.
        message: String,
        /// The fields of the request that are not valid.
        fields: Vec<String>,
    },
    /// The API did not reply.
    #[error("Hetzner's API at {endpoint} does not answer {request}: {why}")]
    Unreachable {
        /// The request.
        request: String,
        /// The API's base URL.
        endpoint: String,
        /// The HTTP library's message.
        why: String,
        /// Whether the API may have carried out the request.
        maybe_done: bool,
    },
    /// The reply does not match Hetzner's documentation.
    #[error("Hetzner's answer to {request} cannot be read: {why}")]
    Unreadable {
        /// The request.
        request: String,
        /// The parser's message.
        why: String,
    },
    /// All retries failed.
    #[error("gave up after {} s: {last}", limit.as_secs())]
    GaveUp {
        /// The timeout.
        limit: Duration,
        /// The last error.
        #[source]
        last: Box<ApiError>,
    },
    /// An action failed.
    #[error("Hetzner's action {command} ({id}) failed: {message} ({code}){}", hint_of(code, message))]
    ActionFailed {
        /// Its id.
        id: i64,
        /// Its command: `attach_volume`.
        command: String,
        /// Hetzner's error code.
        code: Code,
        /// Hetzner's message.
        message: String,
    },
    /// An action exceeded its timeout.
    #[error("Hetzner's action {command} ({id}) has not finished after {} s (progress {progress} %)", limit.as_secs())]
    ActionTimeout {
        /// Its id.
        id: i64,
        /// Its command.
        command: String,
        /// Its progress in percent.
        progress: i64,
        /// The timeout.
        limit: Duration,
    },
    /// The API no longer knows an action.
    #[error("Hetzner's action {command} ({id}) no longer exists, so its result is unknown")]
    ActionGone {
        /// Its id.
        id: i64,
        /// Its command.
        command: String,
    },
    /// The resource does not exist.
    #[error("Hetzner has no {what}")]
    NotFound {
        /// `server firedrill-a3f-worker-1`
        what: String,
    },
    /// The client cannot be created.
    #[error("the HTTP client cannot be created: {0}")]
    Client(String),
}

impl ApiError {
    /// Hetzner's error code, if any.
    pub(crate) fn code(&self) -> Option<&Code> {
        match self {
            ApiError::Refused { code, .. } | ApiError::ActionFailed { code, .. } => Some(code),
            ApiError::GaveUp { last, .. } => last.code(),
            _ => None,
        }
    }

    /// Whether the resource does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, ApiError::NotFound { .. }) || self.code() == Some(&Code::NotFound)
    }

    /// Whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            ApiError::Unreachable { .. } => true,
            ApiError::Refused { status: 502..=504, .. } => true,
            ApiError::Refused { code, .. } => {
                matches!(code, Code::RateLimitExceeded | Code::Conflict | Code::Locked)
            }
            _ => false,
        }
    }

    /// Whether the API may have carried out the failed request.
    pub(crate) fn maybe_done(&self) -> bool {
        match self {
            ApiError::Unreachable { maybe_done, .. } => *maybe_done,
            ApiError::Refused { status: 502..=504, .. } | ApiError::Unreadable { .. } => true,
            ApiError::GaveUp { last, .. } => last.maybe_done(),
            _ => false,
        }
    }
}

/// Hetzner's error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The token is missing or wrong.
    Unauthorized,
    /// The token is read-only or lacks a permission. `token_readonly` is its older name.
    Forbidden,
    /// The resource does not exist.
    NotFound,
    /// A value in the request is not valid.
    InvalidInput,
    /// The name is taken.
    UniquenessError,
    /// An action of the same resource runs.
    Locked,
    /// Two requests changed the same resource.
    Conflict,
    /// The rate limit is exceeded.
    RateLimitExceeded,
    /// The project's quota is exhausted.
    ResourceLimitExceeded,
    /// The location lacks capacity.
    ResourceUnavailable,
    /// No host satisfies the placement group.
    PlacementError,
    /// The resource has delete protection.
    Protected,
    /// The API is in maintenance.
    Maintenance,
    /// The endpoint no longer exists.
    DeprecatedApiEndpoint,
    /// Any other code.
    Other(String),
}

/// All codes that have a variant.
const CODES: [(&str, Code); 14] = [
    ("unauthorized", Code::Unauthorized),
    ("forbidden", Code::Forbidden),
    ("not_found", Code::NotFound),
    ("invalid_input", Code::InvalidInput),
    ("uniqueness_error", Code::UniquenessError),
    ("locked", Code::Locked),
    ("conflict", Code::Conflict),
    ("rate_limit_exceeded", Code::RateLimitExceeded),
    ("resource_limit_exceeded", Code::ResourceLimitExceeded),
    ("resource_unavailable", Code::ResourceUnavailable),
    ("placement_error", Code::PlacementError),
    ("protected", Code::Protected),
    ("maintenance", Code::Maintenance),
    ("deprecated_api_endpoint", Code::DeprecatedApiEndpoint),
];

impl Code {
    /// Parses a code.
    pub(crate) fn of(word: &str) -> Self {
        if word == "token_readonly" {
            return Code::Forbidden;
        }
        let known = CODES.iter().find(|(known, _)| *known == word);
        known.map_or_else(|| Code::Other(word.to_owned()), |(_, code)| code.clone())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Other(word) => f.write_str(word),
            known => f.write_str(CODES.iter().find(|(_, code)| code == known).map_or("", |(word, _)| word)),
        }
    }
}

/// A hint for errors that the user can fix.
fn hint_of(code: &Code, message: &str) -> String {
    let hint = match code {
        Code::Unauthorized => "HCLOUD_TOKEN is not a valid token: create one in the Hetzner Console under Security",
        Code::Forbidden => "the token may be read-only: create one with the permission Read & Write",
        Code::ResourceLimitExceeded => {
            "the project's limit is reached: delete resources, or request a higher limit in the Hetzner Console"
        }
        Code::ResourceUnavailable => {
            "the location lacks capacity at the moment: choose another location or server type"
        }
        Code::PlacementError => "no free host satisfies the placement group: wait, or choose another location",
        Code::InvalidInput if message.contains("server_type") || message.contains("server type") => {
            "choose one that `hcloud server-type list` shows"
        }
        Code::InvalidInput if message.contains("location") => "choose one that `hcloud location list` shows",
        Code::InvalidInput if message.contains("image") => "choose one that `hcloud image list` shows",
        Code::Protected => "it has delete protection: run `hcloud RESOURCE disable-protection NAME delete`",
        Code::RateLimitExceeded => "other clients may use the same project: stop them, or wait",
        Code::Maintenance => "the API is in maintenance: see status.hetzner.com",
        Code::DeprecatedApiEndpoint => "this version of firedrill is too old for the API",
        _ => return String::new(),
    };
    format!("; {hint}")
}

/// The body of an error reply.
#[derive(Deserialize)]
pub(super) struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

impl Refusal {
    /// Converts an error reply. A gateway's reply is not JSON.
    pub(super) fn of(request: String, status: u16, body: &[u8]) -> ApiError {
        let Ok(Self { error }) = serde_json::from_slice::<Self>(body) else {
            let (code, message) =
                (Code::Other(format!("http_{status}")), "the reply is not in Hetzner's format".to_owned());
            return ApiError::Refused { request, status, code, message, fields: Vec::new() };
        };
        let field = |field: &serde_json::Value| {
            let name = field.as_str().or_else(|| field.get("name")?.as_str());
            name.map(str::to_owned)
        };
        let fields = error.details.as_ref().and_then(|details| details.get("fields")?.as_array());
        let fields: Vec<String> = fields.into_iter().flatten().filter_map(field).collect();
        let mut message = error.message.unwrap_or_default();
        if !fields.is_empty() && !fields.iter().any(|field| message.contains(field)) {
            message.push_str(&format!(" (fields: {})", fields.join(", ")));
        }
        ApiError::Refused { request, status, code: Code::of(&error.code), message, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(status: u16, body: serde_json::Value) -> ApiError {
        Refusal::of("POST /servers".to_owned(), status, body.to_string().as_bytes())
    }

    #[test]
    fn codes_are_read_and_written_alike() {
        for (word, code) in CODES {
            assert_eq!((Code::of(word), code.to_string().as_str()), (code.clone(), word));
        }
        assert_eq!(Code::of("token_readonly"), Code::Forbidden);
        assert_eq!(Code::of("new_reason").to_string(), "new_reason");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, code, message, hint) in [
            (401, "unauthorized", "the token you have provided is invalid", "HCLOUD_TOKEN is not a valid token"),
            (403, "token_readonly", "token is only allowed to read", "permission Read & Write"),
            (403, "resource_limit_exceeded", "server limit exceeded", "request a higher limit"),
            (412, "resource_unavailable", "cx23 is unavailable", "choose another location or server type"),
            (412, "placement_error", "no space", "satisfies the placement group"),
            (422, "invalid_input", "invalid server_type", "`hcloud server-type list`"),
            (422, "invalid_input", "unknown location", "`hcloud location list`"),
            (423, "protected", "it is protected", "disable-protection"),
        ] {
            let error = refused(status, json!({"error": {"code": code, "message": message, "details": null}}));
            let text = error.to_string();
            assert!(text.starts_with(&format!("Hetzner refused POST /servers: {message} (")), "{text}");
            assert!(text.contains(hint) && !error.is_transient(), "{text}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_told_apart() {
        for (status, code) in [(429, "rate_limit_exceeded"), (409, "conflict"), (423, "locked"), (502, "bad_gateway")] {
            let error = refused(status, json!({"error": {"code": code, "message": "m", "details": null}}));
            assert!(error.is_transient(), "{error}");
        }
        let gateway = Refusal::of("GET /servers".to_owned(), 504, b"<html>504 Gateway Time-out</html>");
        assert!(gateway.is_transient() && gateway.maybe_done(), "{gateway}");
        for (status, code) in [(409, "uniqueness_error"), (500, "server_error"), (412, "resource_unavailable")] {
            let error = refused(status, json!({"error": {"code": code, "message": "m", "details": null}}));
            assert!(!error.is_transient() && !error.maybe_done(), "{error}");
        }
    }

    #[test]
    fn the_fields_of_a_refusal_are_named() {
        let details = json!({"fields": [{"name": "server_type", "messages": ["unknown"]}, "name"]});
        let error = refused(422, json!({"error": {"code": "invalid_input", "message": "invalid", "details": details}}));
        let text = error.to_string();
        assert!(text.contains("invalid (fields: server_type, name)") && text.contains("hcloud server-type"), "{text}");
        assert!(matches!(error, ApiError::Refused { fields, .. } if fields == ["server_type", "name"]));
    }
}
