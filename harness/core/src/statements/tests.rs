use super::*;
use proptest::prelude::*;

fn texts(text: &str) -> Vec<String> {
    all(text).iter().map(|statement| statement.text(text)).collect()
}

#[test]
fn carriage_returns_change_nothing() {
    for text in [
        "kubectl get pods \\\n  -n a\ndate\n",
        "kubectl apply -f - <<'EOF'\nkind: Pod\nEOF\ndate\n",
        "psql -c \"SELECT 1\nFROM b\"\n",
        "a |\n  b &&\n  c\n",
        "echo \"a \\\n b\"\n",
    ] {
        assert_eq!(texts(&text.replace('\n', "\r\n")), texts(text), "{text}");
    }
}

#[test]
fn lines_belong_together_as_for_a_shell() {
    let cut = |text: &str| texts(text);
    assert_eq!(cut("a \\\n  b\nc"), ["a b", "c"]);
    assert_eq!(cut("a\\\nb"), ["ab"]);
    assert_eq!(cut("a | # first\n\n  b # last\nc"), ["a | b # last", "c"]);
    assert_eq!(cut("a &&\n# why\nb"), ["a && b"]);
    assert_eq!(cut("echo 'a\n  b' c\nd"), ["echo 'a\n  b' c", "d"]);
    assert_eq!(cut("echo \"a \\\n  b\"\nd"), ["echo \"a   b\"", "d"]);
    assert_eq!(cut("x=$(a\n  b)\nc"), ["x=$(a\n  b)", "c"]);
    assert_eq!(
        cut("for a in 1 2; do\n  if b; then c; fi\ndone | d\ne"),
        ["for a in 1 2; do\n  if b; then c; fi\ndone | d", "e"]
    );
    assert_eq!(cut("case $a in\n  x|y) b ;;\n  *) c ;;\nesac\nd"), ["case $a in\n  x|y) b ;;\n  *) c ;;\nesac", "d"]);
    assert_eq!(cut("f() {\n a\n}\nf"), ["f() {\n a\n}", "f"]);
    assert_eq!(cut("f()\n{\n a\n}\nf"), ["f()\n{\n a\n}", "f"]);
    assert_eq!(cut("{\n a\n}\nb"), ["{\n a\n}", "b"]);
    assert_eq!(cut("(\n a\n)\nb"), ["(\n a\n)", "b"]);
    assert_eq!(cut("a `b\nc` d\ne"), ["a `b\nc` d", "e"]);
    assert_eq!(cut("a #it's\nb"), ["a #it's", "b"]);
    assert_eq!(cut("a x#it\\'s\nb"), ["a x#it\\'s", "b"]);
    assert_eq!(cut("echo $(case x in x) a;; esac)\nb"), ["echo $(case x in x) a;; esac)", "b"]);
    assert_eq!(cut("[[ a =~ (b|c) ]] &&\nd\ne"), ["[[ a =~ (b|c) ]] && d", "e"]);
    assert_eq!(cut("a \"${b:-it's}\" ${c:-\"}\"}\nd"), ["a \"${b:-it's}\" ${c:-\"}\"}", "d"]);
    assert_eq!(cut("a $'it\\'s'\nb"), ["a $'it\\'s'", "b"]);
    assert_eq!(cut("echo $((1 << 2))\nb"), ["echo $((1 << 2))", "b"]);
    assert_eq!(cut("a <<< 'x'\nb"), ["a <<< 'x'", "b"]);
    assert_eq!(cut("awk '{print $1}' <in\nb"), ["awk '{print $1}' <in", "b"]);
}

#[test]
fn here_documents_belong_to_their_statement() {
    let text = "cat <<EOF | grep x\nfor it's (\nEOF\nb";
    assert_eq!(texts(text), ["cat <<EOF | grep x\nfor it's (\nEOF", "b"]);
    assert_eq!(all(text)[0].head(text), "cat <<EOF | grep x");
    assert!(all(text)[0].has_here_document && all(text)[0].keyword.is_none());
    let two = "a <<X <<-\"Y\" |\n1\nX\n\t2\n\tY\nb\nc";
    assert_eq!(texts(two), ["a <<X <<-\"Y\" |\n1\nX\n\t2\n\tY\nb", "c"]);
    assert_eq!(all(two)[0].head(two), "a <<X <<-\"Y\" | b");
    let inside = "x=$(cat <<E\n)\nE\n)\nb";
    assert_eq!(texts(inside), ["x=$(cat <<E\n)\nE\n)", "b"]);
    assert_eq!(all("a <<EOF\nb\n EOF\nc")[0].open, Some(Open::HereDocument));
}

#[test]
fn what_is_not_closed_is_said() {
    let open = |text: &str| all(text)[0].open;
    assert_eq!(open("a \\"), Some(Open::Backslash));
    assert_eq!(open("a |"), Some(Open::Operator));
    assert_eq!(open("a 'b\nc"), Some(Open::Quote));
    assert_eq!(open("a \"$(b)"), Some(Open::Quote));
    assert_eq!(open("a $(b\nc"), Some(Open::Parenthesis));
    assert_eq!(open("if a; then\nb"), Some(Open::Block));
    assert_eq!(open("a"), None);
}

#[test]
fn what_no_shell_accepts_is_odd() {
    for odd in [
        "Error from server (NotFound): pods \"a\" not found",
        "| a | b |",
        "a )",
        "done",
        "then",
        "fi",
        "a(b)",
        "&& a",
        "}",
    ] {
        assert!(all(odd)[0].is_odd, "{odd}");
    }
    for even in [
        "(a)",
        "a | b",
        "if a; then b; fi",
        "a=(b c)",
        "diff <(a) <(b)",
        "f() { a; }",
        "a & b",
        "(a) | b",
        "{ a; } && b",
        "! a",
    ] {
        assert!(!all(even)[0].is_odd, "{even}");
    }
}

#[test]
fn variables_are_followed() {
    let names = |text: &str| {
        let statement = all(text).remove(0);
        let of = |ranges: &[Range<usize>]| {
            ranges.iter().map(|range| text[range.clone()].to_owned()).collect::<Vec<_>>().join(",")
        };
        format!("{} <- {}{}", of(&statement.sets), of(&statement.uses), if statement.only_sets { " !" } else { "" })
    };
    assert_eq!(names("POD=$(kubectl get pod -o name)"), "POD <-  !");
    assert_eq!(names("kubectl describe $POD \"${NS}\""), " <- POD,NS");
    assert_eq!(names("POD=a; kubectl describe $POD"), "POD <- ");
    assert_eq!(names("POD=a kubectl describe $POD"), " <- POD");
    assert_eq!(names("export NS=a B"), "NS,B <-  !");
    assert_eq!(names("read -r a b <x; echo $b ${c:-d} '$e' \\$f $1 $$ $?"), "a,b <- ");
    assert_eq!(names("cd x"), " <-  !");
    assert_eq!(names("cd x && ls"), " <- ");
    assert_eq!(names("cat <<E\n$A \\$B\nE"), " <- A");
    assert_eq!(names("cat <<'E'\n$A\nE"), " <- ");
    assert_eq!(names("eval \"$A\""), " <- ");
    assert_eq!(names("coproc x; read a <&\"${COPROC[0]}\"; y \"$a\""), "a <- COPROC");
    assert_eq!(names("(A=1; echo $A)"), "A <- ");
    assert_eq!(names("echo ${#A} ${!B} ${C[0]}"), " <- A,B,C");
    assert_eq!(names("for p in 1; do echo $p; done"), "p <- ");
}

#[test]
fn lines_of_a_block_are_put_together_again() {
    // As a parser gives them: the carriage return is cut out, and so is the indentation.
    let text = "  a \\\r\n  b\r\n";
    assert_eq!(block_lines(text, &[2..5, 6..7, 9..10, 11..12]), [2..5, 9..10]);
    assert_eq!(block_lines("a\nb\n", std::slice::from_ref(&(0..4))), [0..1, 2..3]);
    assert_eq!(block_lines("a\n\nb", &[0..2, 2..3, 3..4]), [0..1, 2..2, 3..4]);
}

proptest! {
    #[test]
    fn each_line_is_read_once(text in "[a-z é<>|&;$(){}`'\"\\\\#\n\r=\t-]{0,80}") {
        let lines = lines(&text, 0..text.len());
        for statement in all(&text) {
            prop_assert!(statement.lines >= 1 && statement.lines <= lines.len());
            for piece in &statement.pieces {
                prop_assert!(text.get(piece.place.clone()).is_some());
            }
            for pair in statement.pieces.windows(2) {
                prop_assert!(pair[0].place.end <= pair[1].place.start);
            }
            for name in statement.uses.iter().chain(&statement.sets) {
                prop_assert!(text.get(name.clone()).is_some_and(|name| !name.is_empty()));
            }
            statement.text(&text);
            statement.head(&text);
        }
    }
}
