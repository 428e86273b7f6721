//! What conditions mean: truth tables.

use pagefold_litmus::{Symbol, Value};

use crate::common::{check, in_items};

/// The truth of an expression over `a` and `b`, for each pair of values.
fn table(expression: &str, rows: &[[Option<Value>; 2]]) -> String {
    let source = in_items(&format!(
        "P0 (A) {{ a = x[0]; }}\nP1 (B) {{ b = y[0]; }}\nforall ({expression})"
    ));
    let scenario = check(&source).unwrap_or_else(|errors| panic!("{errors}"));
    let condition = scenario.condition.expect("a condition");
    rows.iter()
        .map(|row| if condition.eval(row) { 'T' } else { 'F' })
        .collect()
}

const ZERO: Option<Value> = Some(Value::Number(0));
const ONE: Option<Value> = Some(Value::Number(1));
const AGAIN: Option<Value> = Some(Value::Symbol(Symbol::EAGAIN));
const BITS: [[Option<Value>; 2]; 4] = [[ZERO, ZERO], [ZERO, ONE], [ONE, ZERO], [ONE, ONE]];

#[test]
fn connectives() {
    for (expression, expected) in [
        ("true", "TTTT"),
        ("~true", "FFFF"),
        ("a = 1", "FFTT"),
        ("a != 1", "TTFF"),
        ("1 = a", "FFTT"),
        (r"a = 1 /\ b = 1", "FFFT"),
        (r"a = 1 \/ b = 1", "FTTT"),
        ("a = b", "TFFT"),
        ("a != b", "FTTF"),
        ("~a = b", "FTTF"),
        ("~~(a = b)", "TFFT"),
        (r"~(a = 1 /\ b = 1)", "TTTF"),
    ] {
        assert_eq!(table(expression, &BITS), expected, "{expression}");
    }
}

#[test]
fn negation_binds_closest_then_conjunction() {
    for (expression, same) in [
        (r"~a = 1 /\ b = 1", r"(~(a = 1)) /\ (b = 1)"),
        (r"a = 1 \/ b = 1 /\ a = 0", r"a = 1 \/ (b = 1 /\ a = 0)"),
        (r"a = 0 /\ b = 1 \/ a = 1", r"(a = 0 /\ b = 1) \/ a = 1"),
    ] {
        assert_eq!(table(expression, &BITS), table(same, &BITS), "{expression}");
    }
    assert_ne!(
        table(r"a = 1 \/ b = 1 /\ a = 0", &BITS),
        table(r"(a = 1 \/ b = 1) /\ a = 0", &BITS)
    );
}

#[test]
fn symbols_are_no_numbers() {
    let rows = [[AGAIN, ZERO], [AGAIN, AGAIN], [ONE, AGAIN]];
    assert_eq!(table("a = EAGAIN", &rows), "TTF");
    assert_eq!(table("a = EBUSY", &rows), "FFF");
    assert_eq!(table("a = b", &rows), "FTF");
    assert_eq!(table("a = 0", &rows), "FFF");
}

#[test]
fn an_unset_register_is_equal_to_nothing() {
    let rows = [[None, ZERO], [ZERO, None], [None, None]];
    assert_eq!(table("a = 0", &rows), "FTF");
    assert_eq!(table("a != 0", &rows), "TFT");
    assert_eq!(table("a = b", &rows), "FFF");
    assert_eq!(table("a != b", &rows), "TTT");
    assert_eq!(table("a = a", &rows), "FTF");
}

#[test]
fn a_register_beyond_the_slice_is_unset() {
    let source = in_items("P0 (A) { a = x[0]; }\nexists (a = 0)");
    let condition = check(&source).ok().and_then(|scenario| scenario.condition);
    assert_eq!(condition.map(|condition| condition.eval(&[])), Some(false));
}
