//! The interleaving that is shown has the fewest context switches and, among those, the fewest
//! preemptions.

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock};
use pagefold_explore::{Config, Verdict, Violation, explore, fail, thread};

static LOCK: LockClass = LockClass::sleep("lock");

#[track_caller]
fn broken(program: impl FnMut()) -> Violation {
    match explore(&Config::default(), program).verdict {
        Verdict::Broken(violation) => *violation,
        verdict => panic!("it breaks: {verdict:?}"),
    }
}

/// The threads of a trace, each where it takes over.
fn turns(violation: &Violation) -> Vec<&str> {
    let trace = &violation.trace;
    let mut threads: Vec<u16> = trace.steps.iter().map(|step| step.thread).collect();
    threads.dedup();
    threads
        .into_iter()
        .map(|thread| trace.threads[usize::from(thread)].as_str())
        .collect()
}

#[test]
fn a_thread_that_has_to_wait_is_no_preemption() {
    // `looks` sees both writes between its first and its second look, in whatever order they come.
    // If `locks` goes first, it is left with the lock in its hands, and then `writes` has to wait for
    // that. The other way round both could have gone on.
    let violation = broken(|| {
        let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let lock = Arc::new(RawLock::new(&LOCK));
        let w = Arc::clone(&words);
        thread::spawn_named("looks", move || {
            let before = [w[0].load(SeqCst), w[1].load(SeqCst)];
            let after = [w[0].load(SeqCst), w[1].load(SeqCst)];
            if before == [0, 0] && after == [1, 1] {
                fail("seen", String::new());
            }
        });
        let (w, l) = (Arc::clone(&words), Arc::clone(&lock));
        thread::spawn_named("writes", move || {
            w[0].store(1, SeqCst);
            l.lock();
            l.unlock();
        });
        thread::spawn_named("locks", move || {
            lock.lock();
            words[1].store(1, SeqCst);
            lock.unlock();
        });
    });
    assert_eq!(
        turns(&violation),
        ["main", "looks", "locks", "writes", "looks"],
        "{violation}"
    );
    assert_eq!(
        (violation.context_switches, violation.preemptions),
        (4, 2),
        "{violation}"
    );
}

#[test]
fn a_thread_that_has_ended_is_no_preemption() {
    // Both writers have to write between the looks. One of them has something else to do
    // afterwards, so it is left in the middle wherever it stands; the other one just ends.
    let violation = broken(|| {
        let words = Arc::new([0; 4].map(AtomicU32::new));
        let w = Arc::clone(&words);
        let looks = thread::spawn_named("looks", move || {
            let before = w[0].load(SeqCst) + w[1].load(SeqCst);
            let after = w[0].load(SeqCst) + w[1].load(SeqCst);
            assert!(before != 0 || after != 2, "seen");
        });
        let w = Arc::clone(&words);
        thread::spawn_named("goes on", move || {
            w[0].store(1, SeqCst);
            w[3].store(1, SeqCst);
        });
        thread::spawn_named("ends", move || words[1].store(1, SeqCst));
        // Waiting is no preemption either.
        looks.join().unwrap();
    });
    assert_eq!(
        (violation.context_switches, violation.preemptions),
        (4, 2),
        "{violation}"
    );
}

#[test]
fn switches_count_before_preemptions() {
    // Two failures: one with three switches, some of them preemptions, and one with five and none.
    let violation = broken(|| {
        let words = Arc::new([0; 3].map(AtomicU32::new));
        let w = Arc::clone(&words);
        thread::spawn_named("a", move || {
            let first = w[0].load(SeqCst);
            let second = w[0].load(SeqCst);
            if first != second {
                fail("changed", String::new());
            }
            for round in 1..3 {
                w[1].store(round, SeqCst);
                w[2].wait_until(|value| value == round);
            }
            fail("waited", String::new());
        });
        thread::spawn_named("b", move || {
            words[0].store(1, SeqCst);
            for round in 1..3 {
                words[1].wait_until(|value| value == round);
                words[2].store(round, SeqCst);
            }
        });
    });
    assert_eq!(violation.kind, "changed", "{violation}");
    assert_eq!(violation.context_switches, 3, "{violation}");
}
