//! A call of kubectl or helm, understood by their own help, and the flags and subcommands that they do not know.

use super::ask::Asker;
use super::found::Found;
use super::help::Help;
use crate::cluster::ClusterError;
use firedrill_core::document::FindingKind;
use firedrill_core::scenario::closest;
use firedrill_core::shell::{Word, placeholders};
use std::ops::Range;

/// Unknown flags that are looked for in one command, at most.
const UNKNOWN_MAX: usize = 4;

/// A flag as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// Its long name, without dashes.
    pub(super) name: String,
    /// Its value, where it has one.
    pub(super) value: Option<Word>,
    /// Where it stands, its value included.
    pub(super) span: Range<usize>,
    /// Whether the program knows it.
    is_known: bool,
}

/// A call, taken apart.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) program: String,
    /// Its subcommands: `rollout status`.
    pub(super) path: Vec<String>,
    pub(super) given: Vec<Given>,
    pub(super) args: Vec<Word>,
    /// What stands behind `--`.
    pub(super) inner: Vec<Word>,
    /// All words but the program and its subcommands.
    pub(super) rest: Vec<Word>,
    /// From the program's first character to the last word's end.
    pub(super) span: Range<usize>,
    pub(super) help: Help,
}

impl Call {
    /// Its subcommands in one text.
    pub(super) fn verb(&self) -> String {
        self.path.join(" ")
    }

    /// The value of the flag's last use, which is the one that counts.
    pub(super) fn value(&self, name: &str) -> Option<&Word> {
        self.given.iter().rev().find(|given| given.name == name)?.value.as_ref()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.name == name)
    }
}

/// What nothing is put in the place of, in these words.
pub(super) fn open_word(words: &[&Word]) -> Option<String> {
    words.iter().find_map(|word| match placeholders(&word.text).first() {
        Some((_, name)) => Some(format!("`<{name}>` stands for something that is not known here")),
        None if !word.is_literal => Some(format!("`{}` is known only where it runs", word.text)),
        None => None,
    })
}

/// Takes a call apart. `None` where the program does not know the subcommand, or none is given.
///
/// # Errors
/// Where the program cannot be asked.
pub(super) async fn understand(
    asker: &mut Asker,
    words: &[Word],
    found: &mut Found,
) -> Result<Option<Call>, ClusterError> {
    let (Some(program), Some(last)) = (words.first(), words.last()) else { return Ok(None) };
    let span = program.span.start..last.span.end;
    let mut rest: Vec<Word> = words[1..].to_vec();
    let (mut help, mut path): (Help, Vec<String>) = (Help::of(asker, &program.text, &[]).await?, Vec::new());
    while help.has_commands {
        let Some(at) = taken_apart(&rest, &help, None).2.first().map(|(at, _)| *at) else { break };
        let word = rest[at].clone();
        let deeper: Vec<String> = path.iter().cloned().chain([word.text.clone()]).collect();
        let next = Help::of(asker, &program.text, &deeper).await?;
        if next.depth <= path.len() {
            let what: Vec<&str> = [program.text.as_str()].into_iter().chain(path.iter().map(String::as_str)).collect();
            let hint = closest(&word.text, help.commands.iter().map(String::as_str));
            let hint = hint.map(|close| format!("did you mean `{close}`?"));
            found.add(
                FindingKind::UnknownSubcommand,
                word.span,
                format!("{} knows no `{}`", what.join(" "), word.text),
                hint,
            );
            return Ok(None);
        }
        rest.remove(at);
        (help, path) = (next, deeper);
    }
    if path.is_empty() {
        found.skip(span, format!("`{}` without a subcommand", program.text));
        return Ok(None);
    }
    let other = match program.text.as_str() {
        "kubectl" => Some(Help::of(asker, "kubectl", &["get".to_owned()]).await?),
        _ => None,
    };
    let (given, inner, args) = taken_apart(&rest, &help, other.as_ref());
    let args = args.into_iter().map(|(_, word)| word).collect();
    let call = Call { program: program.text.clone(), path, given, args, inner, rest, span, help };
    flags(asker, &call, found).await?;
    Ok(Some(call))
}

type Parts = (Vec<Given>, Vec<Word>, Vec<(usize, Word)>);

/// The flags, what stands behind `--`, and the arguments with their numbers. `other` says of flags that the program does
/// not know whether they would take a value.
fn taken_apart(rest: &[Word], help: &Help, other: Option<&Help>) -> Parts {
    let (mut given, mut args) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(word) = rest.get(at) {
        at += 1;
        if word.text == "--" {
            return (given, rest[at..].to_vec(), args);
        }
        let Some(text) = word.text.strip_prefix('-').filter(|text| !text.is_empty()) else {
            args.push((at - 1, word.clone()));
            continue;
        };
        let named = |name: &str| {
            let known = help.flag(name);
            (known.clone().or_else(|| other.and_then(|help| help.flag(name))), known.is_some())
        };
        if let Some(long) = text.strip_prefix('-') {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let (known, is_known) = named(name);
            let takes = known.is_some_and(|(_, takes)| takes);
            let mut flag = Given { name: name.to_owned(), value: None, span: word.span.clone(), is_known };
            match value {
                Some(value) => flag.value = Some(Word { text: value.to_owned(), ..word.clone() }),
                None if takes => take_next(&mut flag, rest, &mut at),
                None => {}
            }
            given.push(flag);
            continue;
        }
        // `-it`, `-nironflow`, `-n ironflow`, `-n=ironflow`
        for (offset, letter) in text.char_indices() {
            let (flag, is_known) = named(&letter.to_string());
            let (name, takes) = flag.unwrap_or((letter.to_string(), false));
            let mut flag = Given { name, value: None, span: word.span.clone(), is_known };
            let remainder = &text[offset + letter.len_utf8()..];
            if takes && !remainder.is_empty() {
                let value = remainder.strip_prefix('=').unwrap_or(remainder);
                flag.value = Some(Word { text: value.to_owned(), ..word.clone() });
            } else if takes {
                take_next(&mut flag, rest, &mut at);
            }
            given.push(flag);
            if takes {
                break;
            }
        }
    }
    (given, Vec::new(), args)
}

fn take_next(flag: &mut Given, rest: &[Word], at: &mut usize) {
    if let Some(value) = rest.get(*at) {
        flag.value = Some(value.clone());
        flag.span.end = value.span.end;
        *at += 1;
    }
}

/// Has the program read the call's flags. Its `--help` comes before them, so it does nothing else.
async fn flags(asker: &mut Asker, call: &Call, found: &mut Found) -> Result<(), ClusterError> {
    let mut words: Vec<&Word> = call.rest.iter().take_while(|word| word.text != "--").collect();
    for _ in 0..UNKNOWN_MAX {
        let mut question: Vec<&str> = vec![call.program.as_str()];
        question.extend(call.path.iter().map(String::as_str));
        question.push("--help");
        question.extend(words.iter().map(|word| word.text.as_str()));
        let answer = asker.ask(&question).await?;
        if answer.ok() {
            return Ok(());
        }
        let why = answer.why();
        let named = why
            .strip_prefix("unknown flag: ")
            .or_else(|| why.strip_prefix("unknown shorthand flag: ")?.split(" in ").nth(1));
        let Some(named) = named else {
            let word = words.iter().find(|word| !word.text.is_empty() && why.contains(&format!("\"{}\"", word.text)));
            let span = word.map_or(call.span.clone(), |word| word.span.clone());
            // What a placeholder stands for may well be right.
            if open_word(&words).is_none() {
                found.add(FindingKind::UnknownFlag, span, why, None);
            }
            return Ok(());
        };
        let is_it = |word: &&Word| word.text == named || word.text.starts_with(&format!("{named}="));
        let Some(at) = words.iter().position(is_it) else {
            found.add(FindingKind::UnknownFlag, call.span.clone(), why, None);
            return Ok(());
        };
        let word = words.remove(at);
        found.add(
            FindingKind::UnknownFlag,
            word.span.clone(),
            format!("{} {} knows no flag `{named}`", call.program, call.verb()),
            hint(call, named),
        );
        if call
            .given
            .iter()
            .any(|given| !given.is_known && given.span.start == word.span.start && given.span.end > word.span.end)
            && at < words.len()
        {
            words.remove(at);
        }
    }
    Ok(())
}

fn hint(call: &Call, named: &str) -> Option<String> {
    let takes_pod = matches!(call.verb().as_str(), "exec" | "attach" | "port-forward" | "cp");
    if takes_pod && matches!(named, "-l" | "--selector") {
        return Some(
            "it takes a pod, or what leads to one (`service/NAME`, `deploy/NAME`), and no label selector".to_owned(),
        );
    }
    let close = closest(named.trim_start_matches('-'), call.help.flags.keys().map(String::as_str))?;
    Some(format!("did you mean `--{close}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::shell::simple_commands;

    async fn understood(text: &str) -> (Option<Call>, Found) {
        let words = simple_commands(text).unwrap().remove(0).words;
        let mut found = Found::default();
        let call = understand(&mut Asker::without_cluster(), &words, &mut found).await.unwrap();
        (call, found)
    }

    /// Asks the kubectl and the helm of this machine, which `ci/setup` puts there.
    #[tokio::test]
    async fn the_programs_themselves_say_what_they_do_not_know() {
        let cases = [
            ("kubectl exec -n a -l b=c -l role=primary -- pg_isready -h x", "-l", "kubectl exec knows no flag `-l`"),
            ("kubectl get pods --frob=3", "--frob=3", "kubectl get knows no flag `--frob`"),
            ("kubectl rollout stats deploy/a -n b", "stats", "kubectl rollout knows no `stats`"),
            ("kubectl -n a frobnicate x", "frobnicate", "kubectl knows no `frobnicate`"),
            ("kubectl delete pod x --grace-period=soon", "--grace-period=soon", "invalid argument"),
            ("helm upgrade a ./b --reuse-value", "--reuse-value", "helm upgrade knows no flag `--reuse-value`"),
            ("helm fetchall a", "fetchall", "helm knows no `fetchall`"),
        ];
        for (text, piece, message) in cases {
            let (_, found) = understood(text).await;
            let first = found.findings.first().unwrap_or_else(|| panic!("{text}: nothing was found"));
            assert!(first.message.starts_with(message), "{text}: {}", first.message);
            assert!(text[first.span.clone()].contains(piece), "{text}: {:?}", first.span);
        }
    }

    #[tokio::test]
    async fn what_they_know_is_taken_apart_as_they_do() {
        let (call, found) = understood("kubectl -n a exec -it pod-0 -c=nats --quiet -- sh -c 'x -y'").await;
        assert!(found.is_empty(), "{found:?}");
        let call = call.unwrap();
        assert_eq!((call.verb().as_str(), call.args[0].text.as_str(), call.args.len()), ("exec", "pod-0", 1));
        let given: Vec<_> = call
            .given
            .iter()
            .map(|one| (one.name.as_str(), one.value.as_ref().map(|word| word.text.as_str())))
            .collect();
        assert_eq!(
            given,
            [("namespace", Some("a")), ("stdin", None), ("tty", None), ("container", Some("nats")), ("quiet", None)]
        );
        assert_eq!(call.inner.len(), 3);
        for text in [
            "kubectl top pods -n a --sort-by=cpu",
            "helm ls -n a",
            "kubectl create deployment a --image=b",
            "kubectl logs -n a x --tail=<n>",
            "helm get values a -n b",
        ] {
            let (call, found) = understood(text).await;
            assert!(found.is_empty() && call.is_some(), "{text}: {found:?}");
        }
        let (call, _) = understood("kubectl delete pod x --dry-run server -n a").await;
        let args: Vec<_> = call.unwrap().args.into_iter().map(|word| word.text).collect();
        assert_eq!(args, ["pod", "x", "server"]);
    }
}
