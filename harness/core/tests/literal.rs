//! The strict reader against the real bash.

use firedrill_core::shell::{LiteralCommand, Pipeline, Sink, literal_pipelines, simple_commands};
use proptest::prelude::*;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What bash makes of words: `printf` is a builtin, there is nothing in the PATH and the folder is empty.
fn bash_words(text: &str) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("literal-words");
    std::fs::create_dir_all(&folder).unwrap();
    let mut bash = Command::new("/bin/bash");
    bash.args(["--norc", "--noprofile", "-c", &format!("builtin printf '%s\\0' {text}")]);
    let output = bash.env_clear().env("PATH", "").current_dir(&folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{text:?}: {output:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{text:?} made a file");
    let output = String::from_utf8(output.stdout).unwrap();
    output.split_terminator('\0').map(str::to_owned).collect()
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "b1",
        "-x",
        "--y=z",
        " ",
        "  ",
        "\t",
        "'",
        "\"",
        "'c d'",
        "\"e\\|f\"",
        "$",
        "$'",
        "${x:=y}",
        "$(",
        ")",
        "`",
        "{a,b}",
        "{",
        "}",
        "[0]",
        "[",
        "*",
        "~",
        "\\",
        "#",
        " #",
        "\u{a0}",
        "é",
        "!",
        "!=",
        "=",
        "2>&1",
        ">/dev/null",
        "<",
        "|",
        "&&",
        ";",
        "\n",
        "@P",
        "%s",
        "1",
        "\\\"",
        " p ",
        " q ",
    ]);
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_accepted_is_what_bash_reads(text in hostile()) {
        let text = format!("w {text}");
        let Ok(all) = literal_pipelines(&text) else { return Ok(()) };
        // A tolerant reader that sees other words would blame the wrong ones.
        let tolerant = simple_commands(&text).unwrap().into_iter();
        let tolerant: Vec<Vec<String>> =
            tolerant.map(|one| one.words.into_iter().map(|word| word.text).collect()).collect();
        let strict: Vec<Vec<String>> =
            all.iter().flat_map(|pipeline| &pipeline.commands).map(|one| one.words.clone()).collect();
        prop_assert_eq!(&strict, &tolerant);
        if let [Pipeline { commands, .. }] = all.as_slice()
            && let [LiteralCommand { words, output: Sink::Output, errors: Sink::Errors }] = commands.as_slice()
        {
            prop_assert_eq!(words, &bash_words(&text));
        }
    }
}
