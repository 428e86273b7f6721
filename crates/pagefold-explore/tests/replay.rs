//! Traces as files, and replaying them: in the same program, and in one that was edited since.

use std::cell::RefCell;
use std::rc::Rc;

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, LockClass, RawLock};
use pagefold_explore::{
    Config, Divergence, Replay, Trace, Verdict, Violation, explore, fail, kind, label, replay,
    thread,
};

static LOCK: LockClass = LockClass::sleep("lock");

fn config() -> Config {
    Config::default().program("the program of the test")
}

#[track_caller]
fn broken(program: impl FnMut()) -> Violation {
    match explore(&config(), program).verdict {
        Verdict::Broken(violation) => *violation,
        verdict => panic!("it breaks: {verdict:?}"),
    }
}

/// Two adders that lose an update, unless they are guarded by a lock.
fn adders(guarded: bool) -> impl FnMut() {
    move || {
        let lock = Arc::new(RawLock::new(&LOCK));
        let word = Arc::new(AtomicU32::new(0));
        let threads = [1, 2].map(|_| {
            let (lock, word) = (Arc::clone(&lock), Arc::clone(&word));
            thread::spawn_named("adder", move || {
                if guarded {
                    lock.lock();
                }
                let value = word.load(SeqCst);
                word.store(value + 1, SeqCst);
                if guarded {
                    lock.unlock();
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(word.load(SeqCst), 2);
    }
}

#[test]
fn an_unchanged_program_does_the_very_same() {
    for (kind, program) in [
        (kind::PANIC, &mut adders(false) as &mut dyn FnMut()),
        (kind::DEADLOCK, &mut embrace),
    ] {
        let violation = broken(&mut *program);
        assert_eq!(violation.kind, kind);
        let file = violation.trace.to_json();
        let trace = Trace::from_json(&file).unwrap();
        let again = replay(&config(), &trace, program);
        assert_eq!(again.divergence, None);
        assert_eq!(again.trace.to_json(), file);
        let found = again.violation.expect("the same violation");
        assert_eq!(found.to_string(), violation.to_string());
        assert_eq!((again.missing, again.added), (0, 0));
        assert_eq!(again.followed, trace.steps.len());
        assert_eq!(again.recorded, Some(trace.steps.len()));
    }
}

fn embrace() {
    let locks = Arc::new([0; 2].map(|_| RawLock::new(&LOCK)));
    for (name, first) in [("left", 0), ("right", 1)] {
        let locks = Arc::clone(&locks);
        thread::spawn_named(name, move || {
            locks[first].lock();
            locks[1 - first].lock_nested();
            locks[1 - first].unlock();
            locks[first].unlock();
        });
    }
}

#[test]
fn a_program_that_was_repaired_departs() {
    let violation = broken(adders(false));
    let other = replay(&config(), &violation.trace, adders(true));
    let divergence = other.divergence.expect("a lock is in the way");
    assert!(other.violation.is_none());
    assert_eq!(
        divergence.to_string(),
        "step 4: expected `load a1 -> 0` by adder, got adder waits since step 4 for lock#1, held by \
         adder since step 2"
    );
}

#[test]
fn after_the_end_of_a_trace_the_execution_goes_on() {
    let mut trace = broken(adders(false)).trace;
    trace.steps.truncate(3);
    let done = replay(&config(), &trace, adders(false));
    assert_eq!(done.divergence, None);
    assert!(done.violation.is_none(), "nothing is in the way any more");
    assert_eq!(done.recorded, Some(3));
    assert!(done.trace.steps.len() > 3);
}

#[test]
fn a_violation_may_come_early() {
    let violation = broken(adders(false));
    let early = replay(&config(), &violation.trace, || {
        let word = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&word);
        thread::spawn_named("adder", move || {
            other.load(SeqCst);
            fail("early", String::new());
        });
    });
    assert_eq!(early.divergence, None);
    assert_eq!(early.violation.expect("it fails").kind, "early");
    assert_eq!(early.recorded, None);
    assert!(early.followed < violation.trace.steps.len());
}

#[test]
fn names_given_by_the_program_are_what_counts() {
    let look = |word: &Arc<AtomicU32>| {
        let word = Arc::clone(word);
        thread::spawn_named("other", move || word.store(1, SeqCst));
    };
    let program = |name: &'static str| {
        move || {
            let word = Arc::new(AtomicU32::new(0));
            look(&word);
            label(|| name.to_owned());
            if word.load(SeqCst) == 1 {
                fail("seen", String::new());
            }
        }
    };
    let trace = broken(program("ptl_lock")).trace;
    assert!(
        replay(&config(), &trace, program("ptl_lock"))
            .divergence
            .is_none()
    );
    let other = replay(&config(), &trace, program("pmd_clear"));
    assert_eq!(
        other.divergence.expect("another name").to_string(),
        "step 3: expected `ptl_lock` by main, got `pmd_clear`"
    );
}

#[test]
fn a_new_helper_that_is_joined_is_let_through() {
    let program = |helps: bool| {
        move || {
            let word = Arc::new(AtomicU32::new(0));
            let other = Arc::clone(&word);
            let private = Arc::new(AtomicU32::new(0));
            if helps {
                let own = Arc::clone(&private);
                let helper = thread::spawn_named("helper", move || own.store(1, SeqCst));
                helper.join().unwrap();
            }
            thread::spawn_named("other", move || other.store(1, SeqCst));
            if word.load(SeqCst) == 1 {
                fail("seen", String::new());
            }
        }
    };
    let trace = broken(program(false)).trace;
    let again = replay(&config(), &trace, program(true));
    assert_eq!(again.divergence, None);
    assert_eq!(again.violation.expect("again").kind, "seen");
    // Its start, its store, the join.
    assert_eq!((again.missing, again.added), (0, 3));
    // And the other way round.
    let trace = broken(program(true)).trace;
    let again = replay(&config(), &trace, program(false));
    assert_eq!(again.divergence, None);
    assert_eq!(again.violation.expect("again").kind, "seen");
}

#[test]
fn traces_are_refused_with_a_reason() {
    let good = broken(adders(false)).trace.to_json();
    let refused = |text: &str, reason: &str| {
        let error = Trace::from_json(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    let version = format!("\"version\": {}", Trace::VERSION);
    refused(
        &good.replace(&version, "\"version\": 1"),
        "format version 1, where version 2 is understood; it has to be recorded again",
    );
    refused("{\"version\": 99}", "version 99");
    refused("no trace", "line 1 column");
    refused(&good[..good.len() / 2], "line");
    refused(
        &good.replacen("\"thread\": 0", "\"thread\": \"zero\"", 1),
        "invalid type: string \"zero\", expected u16 at line",
    );
    refused(
        &good.replacen("\"thread\": 0", "\"thread\": 7", 1),
        "step 0 is of thread 7",
    );
    refused(
        &good.replacen("\"shared\": false", "\"shard\": false", 1),
        "missing field `shared` at line",
    );
}

#[test]
#[should_panic(expected = "format version 1")]
fn only_valid_traces_are_replayed() {
    let mut trace = broken(adders(false)).trace;
    trace.version = 1;
    replay(&config(), &trace, adders(false));
}

// Random programs, and random edits of them.

/// What a thread of a random program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// On a word that all threads use.
    Load(usize),
    /// The value is one that nobody else stores.
    Store(usize, u32),
    /// A store under the lock.
    Locked(usize, u32),
    /// On one of the words of the thread's own.
    OwnLoad(usize),
    OwnStore(usize, u32),
}

impl Op {
    fn is_private(self) -> bool {
        matches!(self, Self::OwnLoad(_) | Self::OwnStore(..))
    }
}

const WORDS: usize = 2;
const OWN: usize = 3;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % limit
    }

    fn own(&mut self) -> Op {
        match self.below(2) {
            0 => Op::OwnLoad(self.below(OWN)),
            _ => Op::OwnStore(self.below(OWN), 5),
        }
    }

    fn program(&mut self) -> Vec<Vec<Op>> {
        let mut value = 100;
        (0..2 + self.below(2))
            .map(|_| {
                (0..1 + self.below(4))
                    .map(|_| {
                        value += 1;
                        match self.below(10) {
                            0..4 => Op::Load(self.below(WORDS)),
                            4..6 => Op::Store(self.below(WORDS), value),
                            6..7 => Op::Locked(self.below(WORDS), value),
                            _ => self.own(),
                        }
                    })
                    .collect()
            })
            .collect()
    }
}

/// What is read if the threads run one after the other.
fn in_order(program: &[Vec<Op>]) -> Vec<Vec<u32>> {
    let mut words = [0; WORDS];
    let thread = |ops: &Vec<Op>| {
        let mut seen = Vec::new();
        for op in ops {
            match *op {
                Op::Load(word) => seen.push(words[word]),
                Op::Store(word, value) | Op::Locked(word, value) => words[word] = value,
                Op::OwnLoad(_) | Op::OwnStore(..) => {}
            }
        }
        seen
    };
    program.iter().map(thread).collect()
}

/// The program, which fails if not just this is read.
fn run(program: &[Vec<Op>], expected: &[Vec<u32>]) {
    let words = Arc::new([0; WORDS].map(AtomicU32::new));
    let lock = Arc::new(RawLock::new(&LOCK));
    let seen = Rc::new(RefCell::new(vec![Vec::new(); program.len()]));
    let threads: Vec<_> = program
        .iter()
        .enumerate()
        .map(|(number, ops)| {
            let (words, lock, seen) = (Arc::clone(&words), Arc::clone(&lock), Rc::clone(&seen));
            let ops = ops.clone();
            thread::spawn_named("t", move || {
                let own = [0; OWN].map(AtomicU32::new);
                for op in ops {
                    match op {
                        Op::Load(word) => {
                            let value = words[word].load(SeqCst);
                            seen.borrow_mut()[number].push(value);
                        }
                        Op::Store(word, value) => words[word].store(value, SeqCst),
                        Op::Locked(word, value) => {
                            lock.lock();
                            words[word].store(value, SeqCst);
                            lock.unlock();
                        }
                        Op::OwnLoad(word) => drop(own[word].load(SeqCst)),
                        Op::OwnStore(word, value) => own[word].store(value, SeqCst),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    if *seen.borrow() != expected {
        fail("another outcome", format!("{:?}", seen.borrow()));
    }
}

/// The shared steps, with their objects numbered anew.
fn shared(trace: &Trace) -> Vec<(u16, String)> {
    let mut objects: Vec<&str> = Vec::new();
    let steps = trace.steps.iter().filter(|step| step.shared);
    steps
        .map(|step| {
            let object = step.object.as_deref().expect("a word or the lock");
            let number = objects.iter().position(|other| *other == object);
            let number = number.unwrap_or_else(|| {
                objects.push(object);
                objects.len() - 1
            });
            let label = step.label.replacen(object, &format!("object {number}"), 1);
            (step.thread, label)
        })
        .collect()
}

/// Random programs that break, each with its trace and what is read if all goes in order.
fn each_broken(seed: u64, mut test: impl FnMut(&mut Random, &[Vec<Op>], &[Vec<u32>], &Trace)) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut tested = 0;
    for _ in 0..400 {
        let program = random.program();
        let expected = in_order(&program);
        let report = explore(&config(), || run(&program, &expected));
        if let Verdict::Broken(violation) = report.verdict {
            tested += 1;
            test(&mut random, &program, &expected, &violation.trace);
        }
    }
    assert!(tested > 100, "only {tested} of them broke");
}

fn replay_edited(trace: &Trace, edited: &[Vec<Op>], expected: &[Vec<u32>]) -> Replay {
    replay(&config(), trace, || run(edited, expected))
}

#[test]
fn edits_that_concern_one_thread_change_nothing() {
    each_broken(0x5eed_0001, |random, program, expected, trace| {
        let mut edited = program.to_vec();
        let number = random.below(edited.len());
        let ops = &mut edited[number];
        let private = ops.iter().position(|op| op.is_private());
        let (edit, missing, added) = match private {
            Some(at) if random.below(2) == 0 => (ops.remove(at), 1, 0),
            _ => {
                let new = random.own();
                ops.insert(random.below(ops.len() + 1), new);
                (new, 0, 1)
            }
        };
        let again = replay_edited(trace, &edited, expected);
        let context = || format!("{program:?}\n{edited:?}\n{trace}{again:?}");
        assert_eq!(again.divergence, None, "{}", context());
        let found = again.violation.as_ref();
        assert!(
            found.is_some_and(|found| found.kind == "another outcome"),
            "{}",
            context()
        );
        assert_eq!(shared(&again.trace), shared(trace), "{}", context());
        // A store of the thread's own may change what it reads later: another step in place of one.
        let others = again.missing - missing;
        assert_eq!((again.added - added), others, "{}", context());
        assert!(
            others == 0 || matches!(edit, Op::OwnStore(..)),
            "{}",
            context()
        );
    });
}

/// The steps of `trace` that store a value which nobody else stores.
fn store_of(trace: &Trace, value: u32) -> Option<usize> {
    let suffix = format!(" = {value}");
    let mut steps = trace.steps.iter();
    steps.position(|step| step.shared && step.label.ends_with(&suffix))
}

#[test]
fn edits_that_concern_others_are_told_where_they_are() {
    let mut edits = [0; 3];
    each_broken(0x5eed_0002, |random, program, expected, trace| {
        for number in 0..program.len() {
            for at in 0..program[number].len() {
                let (Op::Store(word, value) | Op::Locked(word, value)) = program[number][at] else {
                    continue;
                };
                // Where nobody else looks, it is no concern of others.
                let Some(step) = store_of(trace, value) else {
                    continue;
                };
                let mut edited = program.to_vec();
                let ops = &mut edited[number];
                let edit = random.below(3);
                edits[edit] += 1;
                match edit {
                    0 => {
                        ops[at] = match ops[at] {
                            Op::Locked(..) => Op::Locked(word, 77),
                            _ => Op::Store(word, 77),
                        }
                    }
                    1 if matches!(ops[at], Op::Store(..)) => drop(ops.remove(at)),
                    1 => ops[at] = Op::OwnLoad(0),
                    _ => ops.insert(at, Op::Store(word, 77)),
                }
                let again = replay_edited(trace, &edited, expected);
                let context = || format!("{program:?}\n{edited:?}\n{trace}\n{again:#?}");
                let Some(Divergence {
                    step: found, got, ..
                }) = &again.divergence
                else {
                    panic!("{}", context());
                };
                // With its store, a thread may lose its use of the lock, which comes just before.
                let locks = usize::from(matches!(program[number][at], Op::Locked(..)));
                assert!((step - locks..=step).contains(found), "{}", context());
                if edit != 1 {
                    assert!(got.ends_with(" = 77`"), "{}", context());
                }
            }
        }
    });
    assert!(edits.iter().all(|&edits| edits > 20), "{edits:?}");
}
