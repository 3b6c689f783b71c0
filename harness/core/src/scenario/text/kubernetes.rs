//! Names, labels and places as Kubernetes reads them.

use super::Wrong;

/// A name of an object.
pub(super) fn kubernetes(text: &str) -> Result<(), Wrong> {
    if text.contains('/') {
        return Err(Wrong::hint(
            format!("`{text}` is not a name in Kubernetes"),
            "write the namespace apart: `namespace = \"...\"`",
        ));
    }
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.chars().all(known) && text.starts_with(edge) && text.ends_with(edge) {
        Ok(())
    } else {
        Err(Wrong::hint(
            format!("`{text}` is not a name in Kubernetes"),
            "lower-case letters, digits, `-` and `.`, a letter or digit at both ends",
        ))
    }
}

/// A label selector.
pub(super) fn selector(text: &str) -> Result<(), Wrong> {
    let mut depth = 0;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim) {
        requirement(part).map_err(|what| {
            Wrong::hint(
                format!("not a label selector: {what}"),
                "such as `app.kubernetes.io/name=nats`, `tier!=test`, `env in (a, b)`",
            )
        })?;
    }
    Ok(())
}

/// One requirement of a label selector.
fn requirement(part: &str) -> Result<(), String> {
    let (key, values) = if let Some(rest) = part.strip_prefix('!') {
        (rest, Vec::new())
    } else if let Some((key, value)) =
        part.split_once("!=").or_else(|| part.split_once("==")).or_else(|| part.split_once('='))
    {
        (key, vec![value])
    } else if let Some((left, right)) = part.split_once('(') {
        let set = right.strip_suffix(')').ok_or_else(|| format!("`{part}` lacks a `)`"))?;
        let key = left.trim_end();
        let key = key.strip_suffix(" notin").or_else(|| key.strip_suffix(" in"));
        (key.ok_or_else(|| format!("`{part}` is neither `in` nor `notin`"))?, set.split(',').collect())
    } else {
        (part, Vec::new())
    };
    let label = |text: &str| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        !text.is_empty()
            && text.len() <= 63
            && text.starts_with(edge)
            && text.ends_with(edge)
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let key = key.trim();
    let short = match key.split_once('/') {
        Some((prefix, short)) if kubernetes(prefix).is_ok() => short,
        Some(_) => return Err(format!("`{key}` is not a label's name")),
        None => key,
    };
    if !label(short) {
        return Err(format!("`{key}` is not a label's name"));
    }
    match values.into_iter().map(str::trim).find(|value| !value.is_empty() && !label(value)) {
        Some(value) => Err(format!("`{value}` is not a label's value")),
        None => Ok(()),
    }
}

/// A name or one label.
pub(super) fn part(text: &str) -> Result<(), Wrong> {
    if text.contains(',') {
        return Err(Wrong::hint("several labels", "one label at a time; the others of a selector stay as they are"));
    }
    if text.contains('=') { selector(text) } else { kubernetes(text) }
}

/// A namespace with a name or one label in it.
pub(super) fn place(text: &str) -> Result<(), Wrong> {
    // A namespace has no dot: what stands before the slash of a label's own name has one.
    match text.split_once('/') {
        Some((namespace, rest)) if !namespace.contains('.') && kubernetes(namespace).is_ok() => part(rest),
        _ => Err(Wrong::hint(format!("`{text}` names no namespace"), "`NAMESPACE/NAME`, or `NAMESPACE/LABEL`")),
    }
}

/// A namespace with a name in it.
pub(super) fn object(text: &str) -> Result<(), Wrong> {
    match text.split_once('/') {
        Some((namespace, name)) => kubernetes(namespace).and_then(|()| kubernetes(name)),
        None => Err(Wrong::hint(format!("`{text}` names no namespace"), "`NAMESPACE/NAME`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_as_kubernetes_reads_them() {
        for good in ["a=b", "app.kubernetes.io/name=nats", "a==b,c!=d", "a in (b, c),!d", "tier notin (x)", "a=", "a"] {
            assert!(selector(good).is_ok(), "{good}");
        }
        for bad in ["a b", "=b", "a=b c", "a in b, c)", "a in (b", "-a=b", "/x=y", "a=b,", "a=b;c"] {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_have_a_namespace() {
        for good in ["sys/nats", "sys/app.kubernetes.io/name=nats", "sys/a=b"] {
            assert!(place(good).is_ok(), "{good}");
        }
        for bad in ["nats", "app.kubernetes.io/name=nats", "/nats", "sys/", "sys/a=b,c=d", "sys/a/b"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
