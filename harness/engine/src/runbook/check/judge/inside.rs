//! What may run in a container, because it only looks. Its arguments are a stranger's, so each program has its own list.
//!
//! Not on it: programs that print what is in a file or in the environment of a process (`cat`, `head`, `env`, `ps e`). They
//! change nothing, but a report may show what a command prints, and a container's files hold Secrets. `ls`, `df` and `du`
//! show names and sizes.

use super::Judge;
use super::flags::plain;

/// Asks, inside of a shell, where a program is. The text is fixed; the name is its own argument, which no shell reads.
pub(in super::super) const WHERE: &str = "command -v -- \"$1\"";
/// Sessions in which the database refuses to write.
pub(in super::super) const READ_ONLY: &str = "PGOPTIONS=-cdefault_transaction_read_only=on";
/// How a statement is put to the database: it is understood, and nothing is executed.
pub(in super::super) const PREPARE: &str = "PREPARE firedrill AS ";
/// Paths of HTTP endpoints that show something. A GET should change nothing, but of another path nobody knows.
const SHOWN: [&str; 16] = [
    "health", "healthz", "ready", "readyz", "live", "livez", "metrics", "version", "varz", "jsz", "routez", "connz",
    "subsz", "gatewayz", "leafz", "accountz",
];

/// Why a container's command is not run as it is; `Ok` where it is.
pub(super) fn judge(judge: &Judge, inner: &[String], is_ours: bool) -> Result<(), String> {
    let words: Vec<&str> = inner.iter().map(String::as_str).collect();
    for word in &words {
        plain(word)?;
    }
    let Some((program, args)) = words.split_first() else {
        return Err("there is no command after `--`".to_owned());
    };
    if is_ours && own(judge, &words) {
        return Ok(());
    }
    let is_read = match *program {
        "wget" => wget(judge, args),
        "nc" => nc(judge, args),
        "cilium" => args == ["status"],
        "nats-server" => args == ["--version"],
        "whoami" | "uptime" => args.is_empty(),
        "id" => options(args, "ugn", "").is_some_and(|(_, rest)| rest.is_empty()),
        "uname" => options(args, "asnrvmo", "").is_some_and(|(_, rest)| rest.is_empty()),
        "df" => options(args, "hkTiP", "").is_some_and(|(_, rest)| rest.iter().all(|path| is_path(path))),
        "du" => options(args, "hkscx", "d").is_some_and(|(_, rest)| rest.iter().all(|path| is_path(path))),
        "ls" => options(args, "lah1trdASi", "").is_some_and(|(_, rest)| rest.iter().all(|path| is_path(path))),
        "nslookup" => matches!(args, [host] if is_host(judge, host)),
        "getent" => matches!(args, ["hosts" | "ahosts", host] if is_host(judge, host)),
        "pg_isready" => options(args, "q", "hpUdt").is_some_and(|(given, rest)| {
            rest.is_empty() && given.iter().all(|(letter, value)| *letter == 'q' || is_login(judge, *letter, value))
        }),
        _ => return Err(format!("`{program}` in a container is not on the list of read-only commands")),
    };
    match is_read {
        true => Ok(()),
        false => Err(format!("`{program}` with these arguments is not on the list of read-only commands")),
    }
}

/// Questions that this program composes, with a stranger's names in them.
fn own(judge: &Judge, words: &[&str]) -> bool {
    match words {
        ["sh", "-c", text, "firedrill", name] => *text == WHERE && is_program(name),
        ["wget", "-qO-", "http://localhost:8222/jsz?streams=true"] => true,
        ["grep", "-q", "-a", "-F", "--", _, file] => *file == "/controller/manager",
        ["psql", "-X", "-w", "-At", login @ .., "-c", "SELECT 1"] => are_logins(judge, login),
        ["env", read_only, "psql", "-X", "-w", login @ .., "-c", command] => {
            // One statement, behind our verb: psql hands it to the server as it is.
            let statement = command.strip_prefix(PREPARE);
            *read_only == READ_ONLY
                && statement.is_some_and(|text| !text.is_empty() && !text.contains(';'))
                && are_logins(judge, login)
        }
        _ => false,
    }
}

/// The name of a program, which may be asked for.
fn is_program(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+/".contains(c))
}

/// Options by letter with their values, and the other arguments.
type Options<'a> = (Vec<(char, &'a str)>, Vec<&'a str>);

/// Letters with their values, and what is left; `None` where a letter is on neither list. Long names are not read.
fn options<'a>(args: &[&'a str], plain: &str, valued: &str) -> Option<Options<'a>> {
    let (mut given, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(letters) = arg.strip_prefix('-') else {
            rest.push(*arg);
            continue;
        };
        if letters.is_empty() || letters.starts_with('-') {
            return None;
        }
        for (at, letter) in letters.char_indices() {
            if plain.contains(letter) {
                given.push((letter, ""));
            } else if valued.contains(letter) {
                let value = &letters[at + letter.len_utf8()..];
                given.push((letter, if value.is_empty() { args.next()? } else { value }));
                break;
            } else {
                return None;
            }
        }
    }
    Some((given, rest))
}

fn are_logins(judge: &Judge, args: &[&str]) -> bool {
    options(args, "", "hpUd").is_some_and(|(given, rest)| {
        rest.is_empty() && given.iter().all(|(letter, value)| is_login(judge, *letter, value))
    })
}

/// A value of psql's or pg_isready's that cannot lead elsewhere: a database's name may be a whole address.
fn is_login(judge: &Judge, letter: char, value: &str) -> bool {
    let is_name = |value: &str| {
        !value.is_empty()
            && !value.starts_with('-')
            && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    match letter {
        'h' => is_host(judge, value) || is_path(value),
        'p' | 't' => is_number(value),
        _ => is_name(value),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A place in a container of which a name or a size may be shown. Devices and the kernel's own files are left alone.
fn is_path(path: &str) -> bool {
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c));
    let beneath = |folder: &str| path == folder || path.starts_with(&format!("{folder}/"));
    path.starts_with('/')
        && !path.contains(is_odd)
        && !path.split('/').any(|part| part == "..")
        && !path.contains("//")
        && !["/dev", "/proc", "/sys"].iter().any(|folder| beneath(folder))
}

/// A host of the cluster, or the container itself. A name with one dot is of the cluster only where a namespace is called so.
fn is_host(judge: &Judge, host: &str) -> bool {
    let is_label = |label: &&str| {
        label.starts_with(|c: char| c.is_ascii_lowercase())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if matches!(host, "127.0.0.1" | "localhost" | "::1" | "[::1]") {
        return true;
    }
    let name = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc"));
    let labels: Vec<&str> = name.unwrap_or(host).split('.').collect();
    let is_near = match labels.as_slice() {
        [_] => name.is_none(),
        [.., namespace] => name.is_some() || labels.len() == 2 && judge.namespaces.contains(*namespace),
        [] => false,
    };
    is_near && labels.iter().all(is_label)
}

/// `http://HOST[:PORT]/PATH[?QUERY]`
fn is_url(judge: &Judge, url: &str) -> bool {
    let Some((address, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else { return false };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    is_host(judge, host)
        && port.is_none_or(is_number)
        && SHOWN.contains(&path)
        && query.chars().all(|c| c.is_ascii_alphanumeric() || "=&_-".contains(c))
}

/// busybox's and GNU's: what is fetched is shown, never kept.
fn wget(judge: &Judge, args: &[&str]) -> bool {
    let mut is_shown = false;
    let mut short = Vec::new();
    for arg in args {
        match *arg {
            "--spider" => is_shown = true,
            "--quiet" => {}
            long if long.starts_with("--") => match long.split_once('=') {
                Some(("--timeout" | "--tries", number)) if is_number(number) => {}
                _ => return false,
            },
            other => short.push(other),
        }
    }
    let Some((given, urls)) = options(&short, "qS", "OTt") else { return false };
    let is_fine = |(letter, value): &(char, &str)| match letter {
        'O' => *value == "-",
        'T' | 't' => is_number(value),
        _ => true,
    };
    is_shown |= given.iter().any(|(letter, _)| *letter == 'O');
    is_shown && given.iter().all(is_fine) && matches!(urls.as_slice(), [url] if is_url(judge, url))
}

/// Only whether a port is open: without `-z` it would send what it reads.
fn nc(judge: &Judge, args: &[&str]) -> bool {
    let Some((given, rest)) = options(args, "zv", "w") else { return false };
    let is_fine = |(letter, value): &(char, &str)| *letter != 'w' || is_number(value);
    given.iter().any(|(letter, _)| *letter == 'z')
        && given.iter().all(is_fine)
        && matches!(rest.as_slice(), [host, port] if is_host(judge, host) && is_number(port))
}
