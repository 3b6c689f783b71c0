//! What a `kubectl exec` runs in its container: whether it is there, and whether it can do what it is asked.

use super::Way;
use super::ask::{Asker, Trouble};
use super::call::{Call, open_word};
use super::found::Found;
use super::judge::WHERE;
use super::objects::Subject;
use super::sql::{self, Database};
use firedrill_core::document::FindingKind;

/// Looks for the program, and for what it names. A database that it leads to is put into `database`.
///
/// # Errors
/// Where the API server does not answer.
pub(super) async fn check(
    asker: &mut Asker,
    call: &Call,
    subject: &Subject,
    database: &mut Option<Database>,
    found: &mut Found,
) -> Result<Way, Trouble> {
    let Some(program) = call.inner.first() else {
        found.skip(call.span.clone(), "there is no command after `--`");
        return Ok(Way::Left);
    };
    let Some(pod) = &subject.pod else {
        if found.is_empty() {
            found.skip(program.span.clone(), "there is no pod in which to look for this program");
        }
        return Ok(Way::Left);
    };
    let mut exec: Vec<String> = vec!["kubectl".to_owned(), "exec".to_owned(), pod.clone()];
    exec.extend(subject.place.iter().cloned());
    if let Some(container) = call.value("container") {
        exec.extend(["-c".to_owned(), container.text.clone()]);
    }
    exec.push("--".to_owned());

    let question: Vec<&str> =
        exec.iter().map(String::as_str).chain(["sh", "-c", WHERE, "firedrill", program.text.as_str()]).collect();
    let answer = asker.ask(&question).await?;
    if !answer.ok() {
        if !answer.lacks_program() && !matches!(answer.code, Some(1 | 127)) {
            found.skip(program.span.clone(), format!("the container could not be searched for it: {}", answer.why()));
            return Ok(Way::Left);
        }
        // Without a shell only the program itself can tell, where it is safe to run.
        let mut is_missing = !answer.lacks_program();
        if !is_missing {
            if asker.judge().read(&call.words()).is_err() || open_word(&call.inner.iter().collect::<Vec<_>>()).is_some()
            {
                found.skip(program.span.clone(), "the container has no shell with which to look for this program");
                return Ok(Way::Left);
            }
            let question: Vec<&str> =
                exec.iter().map(String::as_str).chain(call.inner.iter().map(|word| word.text.as_str())).collect();
            is_missing = asker.ask(&question).await?.lacks_program();
        }
        if is_missing {
            let container =
                call.value("container").map_or_else(|| pod.clone(), |word| format!("container {} of {pod}", word.text));
            let message = format!("{container} has no program `{}`", program.text);
            let hint =
                (program.text == "nats").then(|| "run it where it is, through `kubectl port-forward`".to_owned());
            found.add(FindingKind::MissingProgram, program.span.clone(), message, hint);
            streams(asker, call, &exec, found).await?;
            return Ok(Way::Left);
        }
    }
    match program.text.as_str() {
        "psql" => sql::check(asker, call, exec, database, found).await,
        _ => {
            streams(asker, call, &exec, found).await?;
            if let Some(reason) = open_word(&call.inner.iter().collect::<Vec<_>>()) {
                found.skip(program.span.clone(), reason);
                return Ok(Way::Left);
            }
            if !found.is_empty() {
                return Ok(Way::Left);
            }
            match asker.judge().read(&call.words()) {
                Ok(_) => Ok(Way::Read),
                Err(reason) => {
                    found.skip(program.span.clone(), reason);
                    Ok(Way::Left)
                }
            }
        }
    }
}

/// The stream that `nats stream ...` names: whether JetStream, asked over its monitor in the same container, has it.
async fn streams(asker: &mut Asker, call: &Call, exec: &[String], found: &mut Found) -> Result<(), Trouble> {
    let words: Vec<&str> = call.inner.iter().map(|word| word.text.as_str()).collect();
    if !matches!(words.as_slice(), ["nats", "stream" | "str" | "s", _, name, ..] if !name.starts_with('-')) {
        return Ok(());
    }
    let name = &call.inner[3];
    if let Some(reason) = open_word(&[name]) {
        found.skip(name.span.clone(), reason);
        return Ok(());
    }
    let question = ["wget", "-qO-", "http://localhost:8222/jsz?streams=true"];
    let question: Vec<&str> = exec.iter().map(String::as_str).chain(question).collect();
    let answer = asker.ask(&question).await?;
    let Ok(state) = serde_json::from_str::<serde_json::Value>(&answer.stdout) else {
        found.skip(name.span.clone(), "JetStream does not say which streams it has");
        return Ok(());
    };
    let accounts = state["account_details"].as_array().into_iter().flatten();
    let streams = accounts.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
    let names: Vec<&str> = streams.filter_map(|stream| stream["name"].as_str()).collect();
    if !names.contains(&name.text.as_str()) {
        let hint = Some(format!("there are {}", names.join(", ")));
        found.add(
            FindingKind::MissingStream,
            name.span.clone(),
            format!("JetStream has no stream `{}`", name.text),
            hint,
        );
    }
    Ok(())
}
