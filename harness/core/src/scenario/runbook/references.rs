//! What a step refers to: variables of its shell, and placeholders.

use super::super::command::{BOUND_HINT, Bound, OWN_SHELL_HINT, bound, is_set};
use super::super::mistake::Mistakes;
use super::super::read::Placed;
use crate::shell::placeholders;
use crate::statements::Statement;
use std::collections::HashMap;

/// Notes what a step expects of a shell that is not its own. `set_in` has the variables of earlier steps, each with its line.
pub(super) fn check_variables<'t>(
    text: &'t str,
    statement: &Statement,
    line: u32,
    set_in: &mut HashMap<&'t str, u32>,
    mistakes: &mut Mistakes,
) {
    for place in &statement.uses {
        let name = &text[place.clone()];
        if is_set(name) {
            continue;
        }
        let message = match set_in.get(name) {
            Some(line) => format!("`${name}` is not set in this step: line {line} sets it in another one"),
            None => format!("`${name}` is not set in this step"),
        };
        mistakes.add_hint(place.clone(), message, OWN_SHELL_HINT);
    }
    if statement.only_sets && statement.keyword.is_none() {
        mistakes.add_hint(statement.span(), "a step that changes nothing but its own shell", OWN_SHELL_HINT);
    }
    for place in &statement.sets {
        set_in.insert(&text[place.clone()], line);
    }
}

/// Notes placeholders that nothing is put in the place of; returns the greatest number of a target that is named. The lines
/// of a here-document may have others, which stay as they are.
pub(super) fn check_placeholders(text: &str, statement: &Statement, mistakes: &mut Mistakes) -> Option<Placed<usize>> {
    let mut greatest: Option<Placed<usize>> = None;
    for piece in &statement.pieces {
        for (at, name) in placeholders(&text[piece.place.clone()]) {
            let span = piece.place.start + at.start..piece.place.start + at.end;
            let value = match bound(name) {
                Some(Bound::One(number)) => number,
                Some(Bound::All) => 1,
                None if piece.is_body => continue,
                None => {
                    let message = format!("unknown placeholder `<{name}>`");
                    mistakes.add_hint(span, message, BOUND_HINT);
                    continue;
                }
            };
            if greatest.as_ref().is_none_or(|greatest| greatest.value < value) {
                greatest = Some(Placed { value, span });
            }
        }
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::super::tests::mistakes_of;

    #[test]
    fn a_step_uses_no_variable_of_another_one() {
        let of = |lines: &str| mistakes_of(&format!("# B\n```sh\n{lines}\n```\n"));
        assert_eq!(
            of("POD=$(kubectl get pods -n a -o name)\nkubectl describe -n a $POD"),
            [
                "3: a step that changes nothing but its own shell",
                "4: `$POD` is not set in this step: line 3 sets it in another one",
            ]
        );
        assert_eq!(of("kubectl delete pod -n a \"${POD}\""), ["3: `$POD` is not set in this step"]);
        assert_eq!(of("cd deploy"), ["3: a step that changes nothing but its own shell"]);
        assert_eq!(of("export NS=a"), ["3: a step that changes nothing but its own shell"]);
        assert_eq!(of("cat <<EOF\n$POD\nEOF"), ["4: `$POD` is not set in this step"]);
        for good in [
            "POD=x; kubectl describe -n a $POD",
            "cd deploy && ls",
            "echo $HOME $RANDOM ${NS:-a} '$POD' \\$POD",
            "cat <<'EOF'\n$POD\nEOF",
            "awk '{ print $1 }' x",
            "read -r a <x; echo $a",
        ] {
            assert_eq!(of(good), [""; 0], "{good}");
        }
        let by_hand = mistakes_of("# B\n```sh manual='a person'\nkubectl describe $POD\n```\n");
        assert_eq!(by_hand, [""; 0]);
    }
}
