//! What the primitives of this crate mean.

use pagefold_explore::{hint, rcu};

use crate::check::check_all;
use crate::memory::{body, times};
use crate::table::{FORMULA, program};

/// Counts that follow from what the primitives mean.
#[test]
fn our_primitives() {
    // A reader is before or after the grace period.
    let mut grace = times(3, |_| {
        body(|m| {
            rcu::read_lock();
            m.read(0);
            m.read(0);
            rcu::read_unlock();
        })
    });
    grace.push(body(|_| rcu::synchronize()));
    // A round of a retry loop ends when something has changed: each reader sees the flag at once,
    // or is woken by it.
    let mut retry = times(3, |_| {
        body(|m| {
            while m.read(0) == 0 {
                hint::relax();
            }
        })
    });
    retry.push(body(|m| m.write(0, 1)));
    let mut wait = times(3, |_| {
        body(|m| {
            m.wait(0, |value| value != 0);
        })
    });
    wait.push(body(|m| m.write(0, 1)));
    let barrier = times(4, |_| {
        body(|m| {
            m.counter.add(1);
            m.add(0, 1);
            m.wait(0, |arrived| arrived == 4);
        })
    });
    check_all([
        program("grace period(3)", FORMULA, 8, grace),
        program("retry(3)", FORMULA, 8, retry),
        program("wait(3)", FORMULA, 1, wait),
        program("barrier(4)", FORMULA, 24, barrier),
    ]);
}
