//! A list of things in one line for people, of which there may be hundreds.

/// The first lines with `; ` between them, and how many more there are.
pub fn first_of<T: AsRef<str>>(lines: &[T], max: usize) -> String {
    let mut text = lines.iter().take(max).map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
    if lines.len() > max {
        text.push_str(&format!("; and {} more", lines.len() - max));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(first_of(&["a", "b"], 2), "a; b");
        assert_eq!(first_of(&["a", "b", "c", "d"], 2), "a; b; and 2 more");
        assert_eq!(first_of::<&str>(&[], 2), "");
    }
}
