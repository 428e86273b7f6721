//! The collapse of page tables that may be faulted in again.

use crate::check::{check_all, long};
use crate::memory::{Body, body};
use crate::table::{OURS, program};

/// The race of a huge-page collapse with page faults, as locks and words.
///
/// One thread takes the mapping's lock and, for each of `v` tables, reads the entry that refers to
/// it, takes the lock of that entry and that of the table, and clears the entry unless a flag is
/// set. Each of `f` threads faults `k` times: it reads the entry, sets it under its lock if it is
/// clear, and under the table's lock reads it again and writes to the table, each round elsewhere, if it is set. One
/// thread sets the flag of the first table under its lock.
fn collapse(v: usize, f: usize, k: usize) -> Vec<Body> {
    const MAPPING: usize = 0;
    // Entries are present at first: a clear entry is a 1 here.
    let entry = |i: usize| i;
    let flag = |i: usize| 4 + i;
    let page = |i: usize, round: usize| 8 + 4 * i + round;
    let entry_lock = |i: usize| 1 + i;
    let table_lock = |i: usize| 4 + i;
    let mut threads = vec![body(move |m| {
        m.lock(MAPPING);
        for i in 0..v {
            if m.read(entry(i)) == 1 {
                continue;
            }
            m.lock(entry_lock(i));
            m.lock(table_lock(i));
            if m.read(flag(i)) == 0 {
                m.write(entry(i), 1);
            }
            m.unlock(table_lock(i));
            m.unlock(entry_lock(i));
        }
        m.unlock(MAPPING);
    })];
    for t in 0..f {
        let i = t % v;
        threads.push(body(move |m| {
            for round in 0..k {
                if m.read(entry(i)) == 1 {
                    m.lock(entry_lock(i));
                    if m.read(entry(i)) == 1 {
                        m.write(entry(i), 0);
                    }
                    m.unlock(entry_lock(i));
                }
                m.lock(table_lock(i));
                if m.read(entry(i)) == 0 {
                    m.write(page(i, round), 1);
                }
                m.unlock(table_lock(i));
            }
        }));
    }
    threads.push(body(move |m| {
        m.lock(table_lock(0));
        m.write(flag(0), 1);
        m.unlock(table_lock(0));
    }));
    threads
}

#[test]
fn collapses() {
    let row = |(v, f, k), classes, finals| {
        program(
            format!("collapse({v},{f},{k})"),
            OURS,
            classes,
            collapse(v, f, k),
        )
        .finals(finals)
        .words(vec![0; 16])
        .locks(8)
    };
    check_all([
        row((1, 1, 1), 8, 3),
        row((1, 2, 1), 70, 3),
        row((2, 2, 2), 85, 16),
        row((2, 3, 2), 4_430, 16),
    ]);
    check_all(long(|| {
        vec![row((2, 3, 3), 45_360, 25), row((1, 3, 2), 112_020, 4)]
    }));
}
