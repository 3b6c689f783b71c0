use super::verdicts::{dirty, later_than_documented, part, unknown};
use crate::report::junit::junit;
use firedrill_core::verdict::Value;

#[test]
fn a_pass_has_its_figures() {
    insta::assert_snapshot!(junit(&later_than_documented()).unwrap());
}

#[test]
fn unknown_is_an_error_and_fail_a_failure() {
    insta::assert_snapshot!("unknown", junit(&unknown()).unwrap());
    insta::assert_snapshot!("dirty", junit(&dirty()).unwrap());
}

#[test]
fn a_recovery_that_fails_for_more_than_its_objectives_is_a_case_of_its_own() {
    let mut verdict = later_than_documented();
    verdict.recovery = part(Value::Fail, &["step 2 did not end as expected"], None);
    let xml = junit(&verdict).unwrap();
    assert!(xml.contains("<testcase name=\"recovery\"") && xml.contains("failures=\"1\""), "{xml}");
}
