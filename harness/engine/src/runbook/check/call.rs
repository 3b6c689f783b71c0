//! A call of kubectl or helm, understood by their own help, and the flags and subcommands that they do not know.

use super::ask::{Asker, Trouble};
use super::found::Found;
use super::help::Help;
use super::judge;
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
    /// Where its own word stands.
    word: Range<usize>,
    /// How it is asked for: by its long name, or as it is given where the program's help does not list it.
    asked: String,
    /// Whether the program's help lists it.
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

    /// Its words as the program gets them, its own name included.
    pub(super) fn words(&self) -> Vec<String> {
        let all = std::iter::once(&self.program).chain(&self.path);
        all.cloned().chain(self.rest.iter().map(|word| word.text.clone())).collect()
    }
}

/// What nothing is put in the place of, in these words.
pub(super) fn open_word(words: &[&Word]) -> Option<String> {
    words.iter().find_map(|word| match placeholders(&word.text).first() {
        Some((_, name)) => Some(format!("`<{name}>` stands for an unknown value")),
        None if !word.is_literal => Some(format!("`{}` is known only where it runs", word.text)),
        None => None,
    })
}

/// Takes a call apart. `None` where the program does not know the subcommand, or none is given.
///
/// # Errors
/// Where the program cannot be asked.
pub(super) async fn understand(asker: &mut Asker, words: &[Word], found: &mut Found) -> Result<Option<Call>, Trouble> {
    let (Some(program), Some(last)) = (words.first(), words.last()) else { return Ok(None) };
    let span = program.span.start..last.span.end;
    let mut rest: Vec<Word> = words[1..].to_vec();
    let (mut help, mut path): (Help, Vec<String>) = (Help::of(asker, &program.text, &[]).await?, Vec::new());
    while help.has_commands {
        let Some(at) = taken_apart(&rest, &help, None).2.first().map(|(at, _)| *at) else { break };
        let word = rest[at].clone();
        if let Some(reason) = open_word(&[&word]) {
            found.skip(word.span, reason);
            return Ok(None);
        }
        let deeper: Vec<String> = path.iter().cloned().chain([word.text.clone()]).collect();
        // A word that is not a part of the program might be a plugin, which it would run even to ask for its help.
        let is_part = judge::is_subcommand(&program.text, &deeper);
        if !is_part && help.commands.contains(&word.text) {
            found.skip(span, format!("`{} {}` is not on the list of subcommands", program.text, deeper.join(" ")));
            return Ok(None);
        }
        let next = if is_part { Help::of(asker, &program.text, &deeper).await? } else { Help::default() };
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
    if let Some(flag) = call.given.iter().find(|flag| matches!(flag.name.as_str(), "help" | "h")) {
        found.skip(flag.span.clone(), "it asks for help");
        return Ok(None);
    }
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
            // kubectl takes `_` for `-`.
            let name = if help.folds { name.replace('_', "-") } else { name.to_owned() };
            let (known, is_known) = named(&name);
            let takes = known.is_some_and(|(_, takes)| takes);
            let (span, word_span) = (word.span.clone(), word.span.clone());
            let asked = name.clone();
            let mut flag = Given { name, value: None, span, word: word_span, asked, is_known };
            match value {
                Some(value) => flag.value = Some(Word { text: value.to_owned(), ..word.clone() }),
                None if takes => take_next(&mut flag, rest, &mut at),
                None => {}
            }
            given.push(flag);
            continue;
        }
        // `-it`, `-nNAME`, `-n NAME`, `-n=NAME`
        for (offset, letter) in text.char_indices() {
            let (flag, is_known) = named(&letter.to_string());
            let (name, takes) = flag.unwrap_or((letter.to_string(), false));
            let (span, word_span) = (word.span.clone(), word.span.clone());
            let asked = if is_known { name.clone() } else { letter.to_string() };
            let mut flag = Given { name, value: None, span, word: word_span, asked, is_known };
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

/// Has the program read the call's flags, behind its `--help`: then it does nothing else. Each is written in one form, and
/// one that would take the `--help` back is not among them. Flags that its help lists and that it can only accept are not
/// put to it.
async fn flags(asker: &mut Asker, call: &Call, found: &mut Found) -> Result<(), Trouble> {
    let mut given: Vec<&Given> = Vec::new();
    for flag in &call.given {
        let dashes = if flag.asked.chars().count() == 1 { "-" } else { "--" };
        if !judge::is_flag(&flag.asked) {
            unknown(call, flag, &format!("{dashes}{}", flag.asked), found);
        } else if flag.value.as_ref().is_none_or(|value| open_word(&[value]).is_none())
            && !(flag.is_known
                && call.help.surely_reads(&flag.name, flag.value.as_ref().map(|word| word.text.as_str())))
        {
            given.push(flag);
        }
    }
    if given.is_empty() {
        return Ok(());
    }
    for _ in 0..=UNKNOWN_MAX.max(given.len()) {
        // Of a flag that its help does not list, only the name is asked for.
        let value = |flag: &Given| flag.value.as_ref().filter(|_| flag.is_known).map(|word| word.text.clone());
        let question: Vec<_> = given.iter().map(|flag| (flag.asked.clone(), value(flag))).collect();
        let judged = asker.judge().help(&call.program, &call.path, &question).map_err(Trouble::Refused)?;
        let answer = asker.run(&judged).await?;
        if answer.ok() {
            return Ok(());
        }
        let why = answer.why();
        let named = why
            .strip_prefix("unknown flag: --")
            .or_else(|| why.strip_prefix("unknown shorthand flag: '").and_then(|rest| rest.split('\'').next()));
        // A flag that the help does not list, and that the program takes all the same.
        let hidden = why.strip_prefix("flag needs an argument: ").map(|rest| {
            rest.strip_prefix("--").unwrap_or_else(|| rest.trim_start_matches('\'').split('\'').next().unwrap_or(rest))
        });
        let at = named.or(hidden).and_then(|name| given.iter().position(|flag| flag.asked == name));
        match (at, named) {
            (Some(at), Some(name)) => {
                let dashes = if name.len() == 1 { "-" } else { "--" };
                unknown(call, given.remove(at), &format!("{dashes}{name}"), found);
            }
            (Some(at), None) => drop(given.remove(at)),
            (None, _) => {
                let blamed = given.iter().find(|flag| why.contains(&format!("--{}\"", flag.name)));
                let span = blamed.map_or(call.span.clone(), |flag| flag.span.clone());
                found.add(FindingKind::UnknownFlag, span, why, None);
                return Ok(());
            }
        }
    }
    Ok(())
}

fn unknown(call: &Call, flag: &Given, named: &str, found: &mut Found) {
    let message = format!("{} {} knows no flag `{named}`", call.program, call.verb());
    found.add(FindingKind::UnknownFlag, flag.word.clone(), message, hint(call, named));
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
