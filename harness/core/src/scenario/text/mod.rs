//! What a piece of text must look like: names, selectors, moments and the like.

mod kubernetes;

use super::Moment;
use super::mistake::listed;
use crate::time::parse_duration;
use kubernetes::{kubernetes, object, part, place, selector};
use std::time::Duration;

/// What is wrong with a text, and what to do about it.
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// One line for people.
    Line,
    /// A sentence or more for people.
    Prose,
    /// A name of a probe or a variant: part of names and subjects in the cluster.
    Name,
    /// A name in Kubernetes.
    Kubernetes,
    /// A label selector.
    Selector,
    /// An HTTP path.
    Path,
    /// A prefix of a NATS subject.
    Subject,
    /// A name of a stream, a database, an event.
    Word,
    /// A scenario and its variant, `NAME/VARIANT`.
    Drill,
    /// A file beside the scenario.
    File,
    /// A name in Kubernetes, or one label.
    Part,
    /// A namespace, and a name or a label in it.
    Place,
    /// A namespace and a name in it.
    Object,
    /// A file or a folder, from the folder of the file that names it.
    LocalPath,
    /// A shell command.
    Command,
    /// Text that output must contain.
    Output,
    /// A rate, `10/s`.
    Rate,
    /// When a runbook starts.
    Start,
    /// A Helm value, `key=value`.
    Setting,
    /// A Helm value in JSON, `key=JSON`.
    JsonSetting,
    /// An API version of Kubernetes.
    ApiVersion,
    /// A JSON object.
    JsonObject,
    /// One SQL query that only reads.
    Select,
}

/// Bytes of a line for people, at most.
const LINE_BYTES_MAX: usize = 200;
/// Bytes of a sentence for people, of a command and of expected output, at most.
const PROSE_BYTES_MAX: usize = 2_000;
/// Characters of the name of a probe or variant, at most: it becomes a part of object names, which have 63.
const NAME_CHARS_MAX: usize = 30;
/// The greatest rate of the steady state, per second.
const RATE_MAX: f64 = 100_000.0;
/// The longest wait before a runbook starts.
const START_AFTER_MAX: Duration = Duration::from_secs(3_600);

impl Rule {
    /// Says what is wrong with `text`.
    pub(crate) fn check(self, text: &str) -> Result<(), Wrong> {
        let bytes_max = match self {
            Rule::Line => LINE_BYTES_MAX,
            Rule::Prose
            | Rule::Command
            | Rule::Output
            | Rule::Setting
            | Rule::JsonSetting
            | Rule::JsonObject
            | Rule::Select => PROSE_BYTES_MAX,
            _ => 253,
        };
        if text.trim().is_empty() {
            return Err(Wrong::new("empty text"));
        }
        if text.len() > bytes_max {
            return Err(Wrong::new(format!("{} bytes, {bytes_max} at most", text.len())));
        }
        match self {
            Rule::Line if text.contains('\n') => Err(Wrong::new("more than one line")),
            Rule::Line | Rule::Prose | Rule::Command | Rule::Output => Ok(()),
            Rule::Name => name(text),
            Rule::Drill => drill(text),
            Rule::Kubernetes => kubernetes(text),
            Rule::Selector => selector(text),
            Rule::Path => path(text),
            Rule::Subject => subject(text),
            Rule::Word => word(text),
            Rule::File => file(text),
            Rule::Part => part(text),
            Rule::Place => place(text),
            Rule::Object => object(text),
            Rule::LocalPath if text.contains(char::is_control) => Err(Wrong::new("not a path")),
            Rule::LocalPath => Ok(()),
            Rule::Rate => rate(text).map(|_| ()),
            Rule::Start => start(text).map(|_| ()),
            Rule::Setting => setting(text),
            Rule::JsonSetting => json_setting(text),
            Rule::ApiVersion => api_version(text),
            Rule::JsonObject => json_object(text),
            Rule::Select => select(text),
        }
    }

    /// The same as a regular expression, as far as one can say it, for the schema.
    pub(super) fn pattern(self) -> Option<&'static str> {
        match self {
            Rule::Line => Some("^[^\\n]*\\S[^\\n]*$"),
            Rule::Prose | Rule::Command | Rule::Output => Some("\\S"),
            Rule::Name => Some("^[a-z][a-z0-9-]{0,29}$"),
            Rule::Drill => Some("^[a-z][a-z0-9-]{0,29}/[a-z][a-z0-9-]{0,29}$"),
            Rule::Kubernetes => Some("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
            Rule::Selector | Rule::Part => None,
            Rule::Place => Some("^[a-z0-9-]+/\\S+$"),
            Rule::Object => Some("^[a-z0-9-]+/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
            Rule::LocalPath => Some("^[^\\n]+$"),
            Rule::Path => Some("^/\\S*$"),
            Rule::Subject => Some("^[^\\s.*>{}]+(\\.[^\\s.*>{}]+)*$"),
            Rule::Word => Some("^[A-Za-z0-9_.-]+$"),
            Rule::File => Some("^[A-Za-z0-9_-][A-Za-z0-9_.-]*\\.md$"),
            Rule::Rate => Some("^[0-9]+(\\.[0-9]+)?/s$"),
            Rule::Start => Some("^(detected|alert|after .+)$"),
            Rule::Setting | Rule::JsonSetting => Some("^[^\\s=]+=.*$"),
            Rule::ApiVersion => Some("^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$"),
            Rule::JsonObject => Some("^\\s*\\{"),
            Rule::Select => Some("^(SELECT|select) [^;]+$"),
        }
    }
}

fn setting(text: &str) -> Result<(), Wrong> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() && !key.contains(char::is_whitespace) => Ok(()),
        _ => Err(Wrong::hint(format!("`{text}` sets no value"), "as for `helm --set`: `resources.limits.memory=1Gi`")),
    }
}

fn json_setting(text: &str) -> Result<(), Wrong> {
    setting(text)?;
    let json = text.split_once('=').map_or("", |(_, json)| json);
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(_) => Ok(()),
        Err(error) => Err(Wrong::hint(
            format!("`{json}` is not JSON: {error}"),
            r#"as for `helm --set-json`: `networkPolicy.extraEgress=[{"ports":[{"port":5432}]}]`"#,
        )),
    }
}

fn api_version(text: &str) -> Result<(), Wrong> {
    let (group, version) = text.rsplit_once('/').unwrap_or(("none", text));
    let digits = version.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if digits && kubernetes(group).is_ok() {
        return Ok(());
    }
    Err(Wrong::hint(format!("`{text}` is not a valid API version"), "`v1`, `apps/v1`, `postgresql.cnpg.io/v1`"))
}

fn json_object(text: &str) -> Result<(), Wrong> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(fields)) if !fields.is_empty() => Ok(()),
        Ok(_) => Err(Wrong::hint("not a JSON object with fields", r#"such as `{"spec":{"replicas":0}}`"#)),
        Err(error) => Err(Wrong::new(format!("not JSON: {error}"))),
    }
}

fn select(text: &str) -> Result<(), Wrong> {
    let reads = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("select "));
    if reads && !text.contains(';') {
        return Ok(());
    }
    Err(Wrong::hint("not one query", "a single `SELECT`, without `;`: it is asked again and again, and must not write"))
}

fn name(text: &str) -> Result<(), Wrong> {
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.chars().count() > NAME_CHARS_MAX {
        return Err(Wrong::new(format!("a name of more than {NAME_CHARS_MAX} characters")));
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(kebab) || text.ends_with('-') {
        return Err(Wrong::hint(
            format!("`{text}` cannot be a name"),
            "lower-case letters, digits and `-`, a letter first, such as `pg-write`",
        ));
    }
    if text == "because" {
        return Err(Wrong::hint("`because` is taken", "it names the reason beside figures; choose another name"));
    }
    Ok(())
}

fn drill(text: &str) -> Result<(), Wrong> {
    match text.split_once('/') {
        Some((scenario, variant)) => name(scenario).and_then(|()| name(variant)),
        None => Err(Wrong::hint(
            format!("`{text}` names no variant"),
            "`NAME/VARIANT`, as `firedrill list scenarios` shows them",
        )),
    }
}

fn path(text: &str) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::hint(
            "a path begins with `/`",
            format!("did you mean `/{}`?", text.trim_start_matches("./")),
        ));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(Wrong::new("a path has no spaces and no `#`"));
    }
    Ok(())
}

fn subject(text: &str) -> Result<(), Wrong> {
    if text.contains(['*', '>', '{', '}']) {
        return Err(Wrong::hint(
            "a probe publishes to one subject: no wildcards, no placeholders",
            "the run's id and the probe's name are appended to what stands here",
        ));
    }
    if text.split('.').any(|token| token.is_empty() || token.contains(char::is_whitespace)) {
        return Err(Wrong::new("not a subject: words joined by single dots"));
    }
    Ok(())
}

fn word(text: &str) -> Result<(), Wrong> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        Ok(())
    } else {
        Err(Wrong::new(format!("`{text}` has more than letters, digits, `_`, `-` and `.`")))
    }
}

fn file(text: &str) -> Result<(), Wrong> {
    if text.contains(['/', '\\']) || text.starts_with('.') {
        return Err(Wrong::hint("a runbook stands in the scenario's own folder", "write its name alone"));
    }
    if !text.ends_with(".md") {
        return Err(Wrong::new("a runbook is a Markdown file, `.md`"));
    }
    word(text)
}

/// Reads a rate, per second.
pub(super) fn rate(text: &str) -> Result<f64, Wrong> {
    let plain = |number: &str| number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value = text.strip_suffix("/s").filter(|number| plain(number)).and_then(|number| number.parse::<f64>().ok());
    match value {
        Some(value) if value > 0.0 && value <= RATE_MAX => Ok(value),
        Some(_) => Err(Wrong::new(format!("a rate is more than 0/s and {RATE_MAX}/s at most"))),
        None => Err(Wrong::hint(format!("`{text}` is not a rate"), "such as `10/s` or `0.5/s`")),
    }
}

/// Reads when a runbook starts.
pub(super) fn start(text: &str) -> Result<super::Start, Wrong> {
    const HINT: &str = "`detected`, `alert`, or `after 30s` (after the fault was proven)";
    match text.split_once(' ') {
        None if text == "detected" => Ok(super::Start::Detected),
        None if text == "alert" => Ok(super::Start::Alert),
        Some(("after", duration)) => match parse_duration(duration) {
            Ok(after) if after <= START_AFTER_MAX => Ok(super::Start::After(after)),
            Ok(_) => Err(Wrong::new(format!("too late; {} at most", plain(START_AFTER_MAX)))),
            Err(wrong) => Err(Wrong::hint(wrong, HINT)),
        },
        _ => Err(Wrong::hint(format!("unknown start `{text}`"), HINT)),
    }
}

/// The moment of that name.
pub(super) fn moment(text: &str) -> Option<Moment> {
    Moment::ALL.into_iter().find(|moment| moment.name() == text)
}

/// A duration as scenarios write it.
pub(crate) fn plain(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Reads a duration within bounds, in whole milliseconds.
pub(super) fn duration(text: &str, at_least: Duration, at_most: Duration) -> Result<Duration, Wrong> {
    let bounds = || format!("{} to {}", plain(at_least), plain(at_most));
    let value = parse_duration(text)
        .map_err(|wrong| Wrong::hint(wrong, format!("a number and {}", listed(&["ms", "s", "m", "h"]))))?;
    if value < at_least {
        return Err(Wrong::hint(format!("`{text}` is too short"), bounds()));
    }
    if value > at_most {
        return Err(Wrong::hint(format!("`{text}` is too long"), bounds()));
    }
    if value.subsec_nanos() % 1_000_000 != 0 {
        return Err(Wrong::new(format!("`{text}` is not in whole milliseconds")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Start;

    fn ok(rule: Rule, text: &str) -> bool {
        rule.check(text).is_ok()
    }

    #[test]
    fn names_and_subjects() {
        assert!(
            ok(Rule::Name, "pg-write") && !ok(Rule::Name, "PG") && !ok(Rule::Name, "1a") && !ok(Rule::Name, "because")
        );
        assert!(ok(Rule::Subject, "ironflow.firedrill.drill.events"));
        assert!(!ok(Rule::Subject, "drill.>") && !ok(Rule::Subject, "a..b") && !ok(Rule::Subject, "a.{run}"));
        assert!(ok(Rule::File, "runbook.md") && !ok(Rule::File, "../runbook.md") && !ok(Rule::File, "runbook.txt"));
    }

    #[test]
    fn starts_and_rates() {
        assert_eq!(start("after 1m30s").ok(), Some(Start::After(Duration::from_secs(90))));
        assert_eq!(start("alert").ok(), Some(Start::Alert));
        assert!(start("after lunch").is_err() && start("soon").is_err());
        assert_eq!(rate("0.5/s").ok(), Some(0.5));
        assert!(rate("10").is_err() && rate("0/s").is_err() && rate("inf/s").is_err() && rate("-1/s").is_err());
    }
}
