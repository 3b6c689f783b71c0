//! psql: whether its login works, and whether the database understands its statements, without executing them.

use super::Way;
use super::ask::{Answer, Asker, Trouble};
use super::call::{Call, open_word};
use super::found::Found;
use super::judge::{PREPARE, READ_ONLY};
use firedrill_core::document::FindingKind;
use std::ops::Range;

/// Statements that the server prepares: it looks up every table and column, and executes nothing.
const PREPARED: [&str; 6] = ["SELECT", "UPDATE", "INSERT", "DELETE", "WITH", "VALUES"];

/// A database that a runbook connects to.
#[derive(Clone, Debug)]
pub(super) struct Database {
    /// `kubectl exec POD ... --`
    exec: Vec<String>,
    name: String,
}

/// Checks a psql in a container.
///
/// # Errors
/// Where the API server does not answer.
pub(super) async fn check(
    asker: &mut Asker,
    call: &Call,
    exec: Vec<String>,
    database: &mut Option<Database>,
    found: &mut Found,
) -> Result<Way, Trouble> {
    let words: Vec<_> = call.inner.iter().collect();
    if let Some(reason) = open_word(&words) {
        found.skip(call.inner[0].span.clone(), reason);
        return Ok(Way::Left);
    }
    // Everything but the statements: user, database, host.
    let (mut login, mut statements, mut free) = (Vec::new(), Vec::new(), Vec::new());
    let mut blamed = call.inner[0].span.clone();
    let mut name = None;
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let (flag, value) = match word.text.split_at_checked(2) {
            Some(("--", _)) => match word.text.split_once('=') {
                Some((flag, value)) => (flag, Some((value.to_owned(), word.span.clone()))),
                None => (word.text.as_str(), None),
            },
            Some((flag, "")) => (flag, None),
            Some((flag, value)) if flag.starts_with('-') => (flag, Some((value.to_owned(), word.span.clone()))),
            _ => ("", Some((word.text.clone(), word.span.clone()))),
        };
        let takes = matches!(
            flag,
            "-U" | "--username" | "-d" | "--dbname" | "-h" | "--host" | "-p" | "--port" | "-c" | "--command"
        );
        let value = match value {
            None if takes => rest.next().map(|next| (next.text.clone(), next.span.clone())),
            value => value,
        };
        match (flag, value) {
            ("-c" | "--command", Some(statement)) => statements.push(statement),
            ("-U" | "--username", Some((value, span))) => {
                blamed = span;
                login.extend(["-U".to_owned(), value]);
            }
            ("-d" | "--dbname", Some((value, _))) => name = Some(value),
            ("-h" | "--host", Some((value, _))) => login.extend(["-h".to_owned(), value]),
            ("-p" | "--port", Some((value, _))) => login.extend(["-p".to_owned(), value]),
            ("", Some((value, _))) => free.push(value),
            ("-f" | "--file", _) => statements.push(("\\i".to_owned(), word.span.clone())),
            _ => {}
        }
    }
    let name = name.or_else(|| free.first().cloned()).unwrap_or_else(|| "postgres".to_owned());
    let mut question = exec.clone();
    question.extend(["psql", "-X", "-w", "-At"].map(str::to_owned));
    question.extend(login);
    question.extend(["-d".to_owned(), name.clone(), "-c".to_owned(), "SELECT 1".to_owned()]);
    let answer = asker.ask(&question).await?;
    if !answer.ok() {
        let hint = answer
            .stderr
            .contains("Peer authentication")
            .then(|| "over the container's socket only its own user may log in, `postgres`: leave `-U` out".to_owned());
        found.add(FindingKind::FailedLogin, blamed, cause(&answer), hint);
    }
    let known = Database { exec, name };
    for (statement, span) in &statements {
        known.check(asker, statement, span, found).await?;
    }
    if statements.is_empty() {
        found.skip(call.inner[0].span.clone(), "it waits for input; only its login was tried");
    }
    *database = Some(known);
    Ok(Way::Tried)
}

/// `FATAL:  ...` behind the server's address.
fn cause(answer: &Answer) -> String {
    let line = answer.stderr.lines().find(|line| line.contains("FATAL:"));
    let cause = line.and_then(|line| line.split_once("FATAL:")).map(|(_, cause)| cause.trim().to_owned());
    cause.unwrap_or_else(|| answer.why())
}

impl Database {
    /// Has the server understand every statement of `text`, which stands at `span`.
    ///
    /// # Errors
    /// Where the API server does not answer.
    pub(super) async fn check(
        &self,
        asker: &mut Asker,
        text: &str,
        span: &Range<usize>,
        found: &mut Found,
    ) -> Result<(), Trouble> {
        for statement in text.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            let verb = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if !PREPARED.contains(&verb.as_str()) || statement.matches('\'').count() % 2 == 1 {
                found.skip(span.clone(), format!("`{verb}` has no dry run"));
                continue;
            }
            let mut question = self.exec.clone();
            question.extend(["env", READ_ONLY, "psql", "-X", "-w"].map(str::to_owned));
            // One statement without a semicolon: psql hands it to the server as it is.
            question.extend(["-d".to_owned(), self.name.clone(), "-c".to_owned(), format!("{PREPARE}{statement}")]);
            let answer = asker.ask(&question).await?;
            if answer.ok() {
                continue;
            }
            let line = |mark: &str| {
                answer.stderr.lines().find_map(|line| line.strip_prefix(mark)).map(|line| line.trim().to_owned())
            };
            match line("ERROR:") {
                Some(message) => found.add(FindingKind::WrongSql, span.clone(), message, line("HINT:")),
                None => found.skip(span.clone(), format!("the database does not answer: {}", cause(&answer))),
            }
        }
        Ok(())
    }
}
