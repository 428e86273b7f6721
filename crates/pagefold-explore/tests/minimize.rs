//! The interleaving that is shown has the fewest context switches and, among those, the fewest
//! preemptions.

use std::collections::BTreeSet;

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

// Random programs: the order shown is compared with all orders of the same steps.

/// What a thread of a random program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Store(usize, u32),
    /// Fails if the word has this value.
    Look(usize, u32),
    Lock,
    Unlock,
}

/// Threads, main not among them.
type Program = Vec<Vec<Op>>;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        u32::try_from(value).unwrap() % limit
    }

    fn op(&mut self) -> Op {
        let word = self.below(2) as usize;
        match self.below(3) {
            0 => Op::Look(word, 1 + self.below(4)),
            _ => Op::Store(word, 1 + self.below(4)),
        }
    }

    fn program(&mut self) -> Program {
        let thread = |random: &mut Self| {
            let mut ops = Vec::new();
            for _ in 0..=random.below(3) {
                let op = random.op();
                if random.below(3) == 0 {
                    ops.extend([Op::Lock, op, Op::Unlock]);
                } else {
                    ops.push(op);
                }
            }
            ops
        };
        (0..2 + self.below(2)).map(|_| thread(self)).collect()
    }
}

fn run(program: &Program) {
    let words = Arc::new([0; 2].map(AtomicU32::new));
    let lock = Arc::new(RawLock::new(&LOCK));
    for ops in program {
        let (words, lock, ops) = (Arc::clone(&words), Arc::clone(&lock), ops.clone());
        thread::spawn_named("t", move || {
            for op in ops {
                match op {
                    Op::Store(word, value) => words[word].store(value, SeqCst),
                    Op::Look(word, value) => {
                        if words[word].load(SeqCst) == value {
                            fail("seen", String::new());
                        }
                    }
                    Op::Lock => lock.lock(),
                    Op::Unlock => lock.unlock(),
                }
            }
        });
    }
}

/// The steps of a trace: the thread, and what it does, which is nothing where it starts.
fn steps_of(program: &Program, violation: &Violation) -> Vec<(usize, Option<Op>)> {
    let mut done = vec![0; program.len() + 1];
    let steps = violation.trace.steps.iter().map(|step| {
        let thread = usize::from(step.thread);
        done[thread] += 1;
        let op = (done[thread] as usize).checked_sub(2);
        (thread, op.map(|op| program[thread - 1][op]))
    });
    steps.collect()
}

fn depend(one: Option<Op>, other: Option<Op>) -> bool {
    match (one, other) {
        (Some(Op::Store(a, _)), Some(Op::Store(b, _) | Op::Look(b, _)))
        | (Some(Op::Look(a, _)), Some(Op::Store(b, _))) => a == b,
        (Some(Op::Lock | Op::Unlock), Some(Op::Lock | Op::Unlock)) => true,
        _ => false,
    }
}

/// The fewest switches and, with these, the fewest preemptions of all orders of these steps that leave
/// those that depend on each other in theirs.
fn fewest(program: &Program, steps: &[(usize, Option<Op>)]) -> (usize, usize) {
    // Which steps are done, who took the last one, and who the last one that counts.
    type State = (Vec<bool>, usize, usize);
    let could_go_on = |done: &[bool], thread: usize| {
        let taken = |&(_, &(other, op)): &(&bool, &(usize, Option<Op>))| (other, op);
        let done: Vec<_> = done
            .iter()
            .zip(steps)
            .filter(|(done, _)| **done)
            .map(|step| taken(&step))
            .collect();
        let own = done.iter().filter(|(other, _)| *other == thread).count();
        let Some(next) = thread
            .checked_sub(1)
            .and_then(|thread| program[thread].get(own.saturating_sub(1)))
        else {
            return false;
        };
        let locks = done.iter().filter(|(_, op)| *op == Some(Op::Lock)).count();
        let unlocks = done
            .iter()
            .filter(|(_, op)| *op == Some(Op::Unlock))
            .count();
        *next != Op::Lock || locks == unlocks
    };
    let start: State = (vec![false; steps.len()], 0, 0);
    let mut open = BTreeSet::from([((0, 0), start)]);
    let mut closed = BTreeSet::new();
    while let Some(((switches, preemptions), state)) = open.pop_first() {
        let (done, last, running) = &state;
        if done.iter().all(|done| *done) {
            return (switches, preemptions);
        }
        for (at, &(thread, op)) in steps.iter().enumerate() {
            let before = steps[..at].iter().zip(done);
            let mut missing = before.filter(|(_, done)| !**done).map(|(step, _)| *step);
            if done[at] || missing.any(|(other, earlier)| other == thread || depend(earlier, op)) {
                continue;
            }
            let preempts = op.is_some() && thread != *running && could_go_on(done, *running);
            let cost = (
                switches + usize::from(thread != *last),
                preemptions + usize::from(preempts),
            );
            let mut done = done.clone();
            done[at] = true;
            let running = if op.is_some() { thread } else { *running };
            let next = (done, thread, running);
            if !closed.contains(&next) {
                open.insert((cost, next));
            }
        }
        closed.insert(state);
    }
    unreachable!("the order of the trace is one")
}

#[test]
fn no_other_order_of_the_same_steps_is_simpler() {
    let mut random = Random(0x5eed_0003);
    let mut broken = 0;
    for _ in 0..400 {
        let program = random.program();
        let report = explore(&Config::default(), || run(&program));
        let Verdict::Broken(violation) = report.verdict else {
            continue;
        };
        broken += 1;
        let steps = steps_of(&program, &violation);
        let (switches, preemptions) = fewest(&program, &steps);
        let shown = [violation.context_switches, violation.preemptions];
        assert_eq!(
            shown.map(|count| count as usize),
            [switches, preemptions],
            "{program:?}\n{violation}"
        );
    }
    assert!(broken > 100, "only {broken} of them broke");
}
