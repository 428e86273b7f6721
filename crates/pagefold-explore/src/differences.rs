//! How much two traces differ: thread by thread, the fewest steps that are in one and not in the other.
//!
//! Steps are compared by their labels without the numbers of objects, which shift with every object that is new.

use std::collections::BTreeMap;

use crate::trace::{Trace, TraceStep};

/// The largest comparison, as a product of lengths. What is longer counts as different altogether.
const MAX_CELLS: usize = 1 << 24;

/// How many of the first `old_length` steps of `old` are missing in the first `new_length` of `new`, and how
/// many of those are not in `old`.
pub(crate) fn count(
    old: &Trace,
    old_length: usize,
    new: &Trace,
    new_length: usize,
) -> (usize, usize) {
    let mut threads: BTreeMap<(&str, usize), [Vec<String>; 2]> = BTreeMap::new();
    for (side, (trace, length)) in [(old, old_length), (new, new_length)]
        .into_iter()
        .enumerate()
    {
        for step in trace.steps.iter().take(length) {
            let steps = threads.entry(identity(trace, step)).or_default();
            steps[side].push(without_number(step));
        }
    }
    threads
        .values()
        .fold((0, 0), |(missing, added), [old, new]| {
            let common = longest_common(old, new);
            (missing + old.len() - common, added + new.len() - common)
        })
}

/// A thread: its name, and how many before it have that name.
fn identity<'a>(trace: &'a Trace, step: &TraceStep) -> (&'a str, usize) {
    let thread = usize::from(step.thread);
    let name = trace.threads[thread].as_str();
    let before = trace.threads[..thread].iter();
    (name, before.filter(|other| *other == name).count())
}

fn without_number(step: &TraceStep) -> String {
    match &step.object {
        Some(object) => step.label.replacen(object, "", 1),
        None => step.label.clone(),
    }
}

/// The length of the longest common subsequence.
fn longest_common(mut old: &[String], mut new: &[String]) -> usize {
    let mut same = 0;
    while let ([first, old_rest @ ..], [other, new_rest @ ..]) = (old, new)
        && first == other
    {
        (old, new) = (old_rest, new_rest);
        same += 1;
    }
    while let ([old_rest @ .., last], [new_rest @ .., other]) = (old, new)
        && last == other
    {
        (old, new) = (old_rest, new_rest);
        same += 1;
    }
    if old.len().saturating_mul(new.len()) > MAX_CELLS {
        return same;
    }
    // Of all pairs of beginnings of the two, for one beginning of `old` at a time.
    let mut row = vec![0; new.len() + 1];
    for step in old {
        let mut diagonal = 0;
        for (at, other) in new.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if step == other {
                diagonal + 1
            } else {
                above.max(row[at])
            };
            diagonal = above;
        }
    }
    same + row[new.len()]
}

#[cfg(test)]
mod tests {
    use super::longest_common;

    #[test]
    fn common_subsequences() {
        let steps = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (old, new, common) in [
            ("", "", 0),
            ("abc", "abc", 3),
            ("abc", "", 0),
            ("abcd", "axcd", 3),
            ("xaby", "xbay", 3),
            ("aaab", "aab", 3),
            ("abcbdab", "bdcaba", 4),
        ] {
            assert_eq!(
                longest_common(&steps(old), &steps(new)),
                common,
                "{old} {new}"
            );
            assert_eq!(
                longest_common(&steps(new), &steps(old)),
                common,
                "{new} {old}"
            );
        }
    }
}
