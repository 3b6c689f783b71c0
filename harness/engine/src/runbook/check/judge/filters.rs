//! Programs that only change what runs through them. They read their standard input and nothing else, and write to their
//! standard output: no file is named to them, and no flag that names one is on a list.

use super::flags::plain;

/// A program that reads its flags as getopt does: letters may stand together, and a value behind its letter.
struct Filter {
    /// Its name in a runbook.
    name: &'static str,
    /// The program, where it is another.
    program: &'static str,
    /// What stands before all arguments.
    first: &'static [&'static str],
    /// Letters without a value.
    plain: &'static str,
    /// Letters with a number.
    number: &'static str,
    /// Letters with a text.
    text: &'static str,
    /// Long flags, each with its letter; never abbreviated.
    long: &'static [(&'static str, char)],
    /// Arguments that are no files: how many, at least and at most.
    args: (usize, usize),
    /// The letter that `-5` stands for.
    bare: Option<char>,
}

const NONE: Filter =
    Filter { name: "", program: "", first: &[], plain: "", number: "", text: "", long: &[], args: (0, 0), bare: None };
const GREP: Filter = Filter {
    name: "grep",
    program: "grep",
    plain: "EFGivwxcnohHqsabL",
    number: "ABCm",
    text: "e",
    long: &[
        ("extended-regexp", 'E'),
        ("fixed-strings", 'F'),
        ("basic-regexp", 'G'),
        ("ignore-case", 'i'),
        ("invert-match", 'v'),
        ("word-regexp", 'w'),
        ("line-regexp", 'x'),
        ("count", 'c'),
        ("line-number", 'n'),
        ("only-matching", 'o'),
        ("quiet", 'q'),
        ("after-context", 'A'),
        ("before-context", 'B'),
        ("context", 'C'),
        ("max-count", 'm'),
        ("regexp", 'e'),
    ],
    args: (1, 1),
    bare: Some('C'),
    ..NONE
};
const FILTERS: [Filter; 9] = [
    GREP,
    Filter { name: "egrep", first: &["-E"], ..GREP },
    Filter {
        name: "tail",
        program: "tail",
        plain: "qv",
        number: "nc",
        long: &[("lines", 'n'), ("bytes", 'c')],
        bare: Some('n'),
        ..NONE
    },
    Filter {
        name: "head",
        program: "head",
        plain: "qv",
        number: "nc",
        long: &[("lines", 'n'), ("bytes", 'c')],
        bare: Some('n'),
        ..NONE
    },
    Filter {
        name: "wc",
        program: "wc",
        plain: "lwcmL",
        long: &[("lines", 'l'), ("words", 'w'), ("bytes", 'c'), ("chars", 'm')],
        ..NONE
    },
    Filter {
        name: "cut",
        program: "cut",
        plain: "s",
        text: "dfcb",
        long: &[("delimiter", 'd'), ("fields", 'f'), ("characters", 'c'), ("bytes", 'b'), ("only-delimited", 's')],
        ..NONE
    },
    Filter {
        name: "tr",
        program: "tr",
        plain: "dscC",
        long: &[("delete", 'd'), ("squeeze-repeats", 's'), ("complement", 'c')],
        args: (1, 2),
        ..NONE
    },
    Filter {
        name: "sort",
        program: "sort",
        plain: "nrubfhVgdiM",
        text: "kt",
        long: &[
            ("numeric-sort", 'n'),
            ("reverse", 'r'),
            ("unique", 'u'),
            ("ignore-case", 'f'),
            ("human-numeric-sort", 'h'),
            ("version-sort", 'V'),
            ("key", 'k'),
            ("field-separator", 't'),
        ],
        ..NONE
    },
    Filter {
        name: "uniq",
        program: "uniq",
        plain: "cdui",
        number: "fsw",
        long: &[("count", 'c'), ("repeated", 'd'), ("unique", 'u'), ("ignore-case", 'i')],
        ..NONE
    },
];

/// Letters of jq, which reads its flags in its own way. None of them takes a value.
const JQ: &str = "rcsSeaMjnR";
const JQ_LONG: [(&str, char); 9] = [
    ("raw-output", 'r'),
    ("compact-output", 'c'),
    ("slurp", 's'),
    ("sort-keys", 'S'),
    ("exit-status", 'e'),
    ("ascii-output", 'a'),
    ("monochrome-output", 'M'),
    ("join-output", 'j'),
    ("null-input", 'n'),
];
/// Words of jq's language that lead to files or to the environment.
const JQ_ELSEWHERE: [&str; 7] = ["env", "ENV", "import", "include", "input_filename", "modulemeta", "get_search_list"];

/// The programs that a filter may run.
pub(super) const PROGRAMS: [&str; 10] = ["grep", "jq", "tail", "head", "wc", "cut", "tr", "sort", "uniq", "python3"];

/// The program and the arguments of a filter, in the one form that has one meaning.
pub(super) fn judge(words: &[String]) -> Result<(&'static str, Vec<String>), String> {
    let (name, args) = words.split_first().ok_or("no program")?;
    for arg in args {
        plain(arg)?;
    }
    let unlisted = || format!("`{name}` with these arguments is not on the list of read-only commands");
    match name.as_str() {
        "jq" => jq(args).map(|args| ("jq", args)).ok_or_else(unlisted),
        // `-I`: no module of the folder in which it runs is taken for one of its own.
        "python3" if args == ["-m", "json.tool"] => {
            Ok(("python3", ["-I", "-m", "json.tool"].map(str::to_owned).into()))
        }
        name => {
            let filter = FILTERS.iter().find(|filter| filter.name == name).ok_or_else(unlisted)?;
            filter.judge(args).map(|args| (filter.program, args)).ok_or_else(unlisted)
        }
    }
}

impl Filter {
    fn judge(&self, args: &[String]) -> Option<Vec<String>> {
        let mut argv: Vec<String> = self.first.iter().map(|&arg| arg.to_owned()).collect();
        let (mut rest, mut is_pattern_given) = (Vec::new(), false);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                rest.extend(args.by_ref().cloned());
                break;
            }
            let Some(letters) = arg.strip_prefix('-') else {
                rest.push(arg.clone());
                continue;
            };
            if let Some(long) = letters.strip_prefix('-') {
                let (long, value) = match long.split_once('=') {
                    Some((long, value)) => (long, Some(value.to_owned())),
                    None => (long, None),
                };
                let letter = self.long.iter().find(|(name, _)| *name == long)?.1;
                let value = match (self.takes(letter), value) {
                    (true, None) => Some(args.next()?.clone()),
                    (false, Some(_)) => return None,
                    (_, value) => value,
                };
                is_pattern_given |= letter == 'e';
                argv.push(self.flag(letter, value.as_deref())?);
            } else if !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_digit()) {
                argv.push(self.flag(self.bare?, Some(letters))?);
            } else {
                if letters.is_empty() {
                    return None;
                }
                for (at, letter) in letters.char_indices() {
                    if !self.takes(letter) {
                        argv.push(self.flag(letter, None)?);
                        continue;
                    }
                    let value = &letters[at + letter.len_utf8()..];
                    let value = if value.is_empty() { args.next()?.as_str() } else { value };
                    is_pattern_given |= letter == 'e';
                    argv.push(self.flag(letter, Some(value))?);
                    break;
                }
            }
        }
        let (least, most) = if is_pattern_given { (0, 0) } else { self.args };
        if !(least..=most).contains(&rest.len()) {
            return None;
        }
        argv.push("--".to_owned());
        argv.extend(rest);
        Some(argv)
    }

    fn takes(&self, letter: char) -> bool {
        self.number.contains(letter) || self.text.contains(letter)
    }

    fn flag(&self, letter: char, value: Option<&str>) -> Option<String> {
        let is_number = |text: &str| {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit())
        };
        match value {
            None if self.plain.contains(letter) => Some(format!("-{letter}")),
            Some(text) if self.number.contains(letter) && is_number(text) => Some(format!("-{letter}{text}")),
            Some(text) if self.text.contains(letter) && !text.is_empty() => Some(format!("-{letter}{text}")),
            _ => None,
        }
    }
}

fn jq(args: &[String]) -> Option<Vec<String>> {
    let (mut argv, mut programs) = (Vec::new(), Vec::new());
    for arg in args {
        match arg.strip_prefix('-') {
            None => programs.push(arg.clone()),
            Some(letters) => match letters.strip_prefix('-') {
                Some(long) => {
                    argv.push(format!("-{}", JQ_LONG.iter().find(|(name, _)| *name == long)?.1));
                }
                None if !letters.is_empty() && letters.chars().all(|letter| JQ.contains(letter)) => {
                    argv.extend(letters.chars().map(|letter| format!("-{letter}")));
                }
                None => return None,
            },
        }
    }
    let [program] = programs.as_slice() else { return None };
    if program.is_empty() || leads_elsewhere(program) {
        return None;
    }
    argv.push(program.clone());
    Some(argv)
}

/// Whether a program of jq's uses a word of [`JQ_ELSEWHERE`] as anything else than a field: `.env` is one.
fn leads_elsewhere(program: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    JQ_ELSEWHERE.iter().any(|word| {
        program.match_indices(word).any(|(at, _)| {
            let (before, behind) = (&program[..at], &program[at + word.len()..]);
            let is_whole = !before.ends_with(is_word) && !behind.starts_with(is_word);
            let is_field = before.ends_with('.') && !before.ends_with("..");
            is_whole && !is_field
        })
    })
}

/// What `echo` prints, which needs no program. Only `-n` is known of its flags.
pub(super) fn echo(args: &[String]) -> Result<String, String> {
    for arg in args {
        plain(arg)?;
    }
    let (args, end) = match args.split_first() {
        Some((first, rest)) if first == "-n" => (rest, ""),
        _ => (args, "\n"),
    };
    match args.first().filter(|first| first.starts_with('-') && first.len() > 1) {
        Some(flag) => Err(format!("`echo {flag}` is not on the list of read-only commands")),
        None => Ok(args.join(" ") + end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        judge(&words).ok().map(|(program, args)| format!("{program} {}", args.join(" ")))
    }

    #[test]
    fn filters_are_written_in_one_form() {
        for (text, wanted) in [
            ("grep -A 10 x", "grep -A10 -- x"),
            ("grep -A5 Events", "grep -A5 -- Events"),
            ("egrep -iv a|b", "grep -E -i -v -- a|b"),
            ("grep x -i", "grep -i -- x"),
            ("grep -e x --count", "grep -ex -c --"),
            ("tail -30", "tail -n30 --"),
            ("tail -n +3", "tail -n+3 --"),
            ("head --lines 2", "head -n2 --"),
            ("wc -l", "wc -l --"),
            ("cut -d: -f1,2", "cut -d: -f1,2 --"),
            ("tr -d a", "tr -d -- a"),
            ("sort -k2 -rn", "sort -k2 -r -n --"),
            ("uniq -c", "uniq -c --"),
            ("jq .", "jq ."),
            ("jq -rc .items[].env", "jq -r -c .items[].env"),
            ("python3 -m json.tool", "python3 -I -m json.tool"),
        ] {
            assert_eq!(written(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_names_a_file_or_writes_is_refused() {
        for text in [
            "sort -o x",
            "sort -uo x",
            "sort -ox",
            "sort --output=x",
            "sort --outp=x",
            "sort --output x",
            "sort -T x",
            "sort --compress-program=x",
            "sort --files0-from=x",
            "sort --random-source=x",
            "sort -S 1",
            "sort x",
            "sort -R",
            "sort -",
            "sort -nuo/x",
            "grep x y",
            "grep -r x",
            "grep -f x",
            "grep -if x",
            "grep --file=x",
            "grep --regex=x",
            "grep -e x y",
            "grep -P x",
            "grep --include=x y",
            "grep -d recurse x",
            "grep -- -x /etc/passwd",
            "grep",
            "grep -A x",
            "tail -f",
            "tail -F",
            "tail --follow",
            "tail --retry",
            "tail x",
            "tail --pid=1",
            "tail +3",
            "tail -5f",
            "tail -nf",
            "head x",
            "head -c x",
            "wc x",
            "wc --files0-from=x",
            "cut x",
            "cut -d: -f1 x",
            "tr a b c",
            "tr",
            "uniq a b",
            "uniq a",
            "uniq -z",
            "jq . x",
            "jq -f x",
            "jq --rawfile a b .",
            "jq --slurpfile a b .",
            "jq -L x .",
            "jq -rL x .",
            "jq env",
            "jq $ENV",
            "jq input_filename",
            "jq --arg a b",
            "jq -n env.HOME",
            "jq ..|env",
            "jq \"\\(env)\"",
            "jq --raw .",
            "jq",
            "jq -h",
            "python3 x.py",
            "python3 -m json.tool x",
            "python3 -c 1",
            "python3 -m http.server",
            "python3",
            "xargs rm",
            "sed -i x",
            "awk 1",
            "tee x",
            "bash",
            "env",
            "echo2",
            "cat",
            "base64",
            "less",
            "column",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
