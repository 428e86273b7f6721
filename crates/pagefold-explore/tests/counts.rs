//! Execution counts of programs from the literature: the reduced search must start one complete
//! execution for each class of equivalent interleavings, no more and no less, in whatever order
//! the threads are spawned.
//!
//! A program is a row of a table: its name and size, where the number comes from, the number, and
//! what its threads do. Each is explored with its threads as they stand, reversed and rotated,
//! and must give the number and the same final values each time. And with the
//! [cache](Config::cache): there the final values must be the same again, in no more complete
//! executions.
//!
//! Where a program has a wait which may never end (other tools: an assumption that may fail), such
//! executions end in a deadlock here. They are no classes, but their final values are compared.
//!
//! `EXPLORE_LONG=1` adds sizes that take longer than one wants to wait in each test run.
//!
//! What is known of and not here, and why:
//!
//! * `big2` and others whose number is known only for sizes that take minutes.
//! * The counts modulo commuting critical sections (LAPOR), modulo symmetry, and reads-from
//!   classes: they are of coarser equivalences than the one explored here.
//! * Counts under weak memory models, and programs in which only those differ.
//! * `commits`, whose number depends on how another tool unrolls a loop that may go on for ever: with
//!   at most 5, 6 or 7 rounds it has 618, 1 258 or 2 236 classes here, the expectation is 1 734.
//! * `hw-queue`, of which no execution is complete here (one of its two threads enqueues zero, which
//!   looks like nothing, so one of them waits for ever), while the expectation is 50.
//! * `ms-queue`, `buf_ring`, `mcs_spinlock`, `qspinlock`, `fcombiner`, `hwqueue-ra`: longer programs,
//!   which are yet to be written.
//! * `pgsql`: two endless loops, cut off after a number of rounds by the unrolling of another tool.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, Counter, LockClass, Mutex, RawLock, RawRwSem, RefCount, RwLock};
use pagefold_explore::{
    Config, Ended, Report, Verdict, explore_observed, hint, kind, quiet, rcu, thread,
};

/// The expectations of GenMC's own tests under sequential consistency.
const GENMC: &str = "GenMC";
/// Counted by Nidhugg.
const NIDHUGG: &str = "Nidhugg";
/// The papers on source sets and on observers.
const PAPERS: &str = "papers";
/// A formula.
const FORMULA: &str = "formula";
/// Our program, counted by GenMC, Nidhugg and a prototype.
const OURS: &str = "GenMC and Nidhugg, of our program";

/// The shared state of all programs here.
struct Memory {
    x: Vec<AtomicU32>,
    counter: Counter,
    references: RefCount,
    locks: Vec<RawLock>,
    sem: RawRwSem,
    mutex: Mutex<u32>,
    rwlock: RwLock<u32>,
}

/// More than there are threads that take one: giving one back is never the last.
const REFERENCES: u64 = 8;

/// All of one rank: the programs nest them as they like.
static LOCK: LockClass = LockClass::sleep("lock").ranked(1);
static SEM: LockClass = LockClass::sleep("sem");

impl Memory {
    fn new(program: &Program) -> Self {
        Self {
            x: program.words.iter().copied().map(AtomicU32::new).collect(),
            counter: Counter::new(0),
            references: RefCount::new(REFERENCES),
            locks: (0..program.locks).map(|_| RawLock::new(&LOCK)).collect(),
            sem: RawRwSem::new(&SEM),
            mutex: Mutex::new(0),
            rwlock: RwLock::new(0),
        }
    }

    /// Uses all objects, so that they have their names before the threads race.
    fn touch(&self) {
        quiet(|| {
            for word in &self.x {
                word.load(SeqCst);
            }
            let _ = (self.counter.get(), self.references.read());
            for lock in &self.locks {
                lock.lock_nested();
                lock.unlock();
            }
            self.sem.read();
            self.sem.read_unlock();
            drop(self.mutex.lock().unwrap());
            drop(self.rwlock.read().unwrap());
        });
    }

    fn read(&self, i: usize) -> u32 {
        self.x[i].load(SeqCst)
    }

    fn write(&self, i: usize, value: u32) {
        self.x[i].store(value, SeqCst);
    }

    fn add(&self, i: usize, value: u32) -> u32 {
        self.x[i].fetch_add(value, SeqCst)
    }

    fn cas(&self, i: usize, from: u32, to: u32) -> bool {
        self.x[i].compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }

    fn wait(&self, i: usize, predicate: impl Fn(u32) -> bool) -> u32 {
        self.x[i].wait_until(predicate)
    }

    /// The execution does not count: it ends in a deadlock.
    fn give_up(&self, i: usize) {
        self.x[i].wait_until(|_| false);
    }

    fn lock(&self, i: usize) {
        self.locks[i].lock_nested();
    }

    fn unlock(&self, i: usize) {
        self.locks[i].unlock();
    }

    /// The values of everything.
    fn finals(&self) -> Vec<u64> {
        let words = self.x.iter().map(|word| word.load_quiet().into());
        let counts = [
            self.counter.get_quiet().cast_unsigned(),
            self.references.get_quiet(),
        ];
        words.chain(counts).collect()
    }
}

type Body = Arc<dyn Fn(&Memory)>;

fn body(f: impl Fn(&Memory) + 'static) -> Body {
    Arc::new(f)
}

/// What the main thread does after it has spawned the others.
enum Main {
    Ends,
    Runs(Body),
    /// Waits for the others first.
    Joins(Body),
}

/// A row of the table.
struct Program {
    name: String,
    /// Where the number comes from.
    source: &'static str,
    classes: u64,
    /// Distinct final values, where they are known.
    finals: Option<usize>,
    words: Vec<u32>,
    locks: usize,
    threads: Vec<Body>,
    main: Main,
    /// Some executions end in a deadlock.
    may_block: bool,
}

fn program(
    name: impl Into<String>,
    source: &'static str,
    classes: u64,
    threads: Vec<Body>,
) -> Program {
    Program {
        name: name.into(),
        source,
        classes,
        finals: None,
        words: vec![0; LETTERS],
        locks: 1,
        threads,
        main: Main::Ends,
        may_block: false,
    }
}

/// A program without conditions, in the notation of [`parse`].
fn litmus(name: &str, classes: u64, text: &str) -> Program {
    program(name, GENMC, classes, parse(text))
}

impl Program {
    fn finals(self, n: usize) -> Self {
        Self {
            finals: Some(n),
            ..self
        }
    }

    fn words(self, words: Vec<u32>) -> Self {
        Self { words, ..self }
    }

    fn locks(self, locks: usize) -> Self {
        Self { locks, ..self }
    }

    fn main(self, main: Main) -> Self {
        Self { main, ..self }
    }

    fn may_block(self) -> Self {
        Self {
            may_block: true,
            ..self
        }
    }
}

fn times(n: u32, f: impl Fn(u32) -> Body) -> Vec<Body> {
    (0..n).map(f).collect()
}

/// How many words the notation knows.
const LETTERS: usize = 26;

/// Threads are separated by `|`, their steps by spaces. A step is on the word that its first letter
/// names: `x` reads it, `x=1` writes to it, `x+1` adds to it, `x~1` swaps, `x:0:1` puts 1 in place
/// of 0, and `x>0` reads it and ends the thread unless it is greater.
fn parse(text: &str) -> Vec<Body> {
    text.split('|')
        .map(|thread| {
            let steps: Vec<Step> = thread.split_whitespace().map(Step::parse).collect();
            body(move |m| {
                for step in &steps {
                    if !step.run(m) {
                        return;
                    }
                }
            })
        })
        .collect()
}

struct Step {
    word: usize,
    what: What,
}

enum What {
    Read,
    Write(u32),
    Add(u32),
    Swap(u32),
    Replace(u32, u32),
    UnlessAbove(u32),
}

impl Step {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        let (word, rest) = text.split_at(1);
        let word = usize::from(word.as_bytes()[0] - b'a');
        let what = match rest.split_at_checked(1) {
            None => What::Read,
            Some(("=", value)) => What::Write(number(value)),
            Some(("+", value)) => What::Add(number(value)),
            Some(("~", value)) => What::Swap(number(value)),
            Some((">", value)) => What::UnlessAbove(number(value)),
            Some((":", values)) => {
                let (from, to) = values.split_once(':').expect("two values");
                What::Replace(number(from), number(to))
            }
            Some(_) => panic!("{text}"),
        };
        Self { word, what }
    }

    /// Whether the thread goes on.
    fn run(&self, m: &Memory) -> bool {
        let word = self.word;
        match self.what {
            What::Read => {
                m.read(word);
            }
            What::Write(value) => m.write(word, value),
            What::Add(value) => {
                m.add(word, value);
            }
            What::Swap(value) => {
                m.x[word].swap(value, SeqCst);
            }
            What::Replace(from, to) => {
                m.cas(word, from, to);
            }
            What::UnlessAbove(value) => return m.read(word) > value,
        }
        true
    }
}

/// How executions ended, and with which final values.
type Ends = BTreeSet<(String, Vec<u64>)>;

fn run(program: &Program, threads: &[Body], config: &Config) -> (Report, Ends) {
    let memory: Rc<RefCell<Option<Arc<Memory>>>> = Rc::default();
    let mut ends = Ends::new();
    let current = Rc::clone(&memory);
    let report = explore_observed(
        config,
        || {
            let memory = Arc::new(Memory::new(program));
            *current.borrow_mut() = Some(Arc::clone(&memory));
            if config.cache {
                memory.touch();
            }
            let handles: Vec<_> = threads
                .iter()
                .map(|body| {
                    let (memory, body) = (Arc::clone(&memory), Arc::clone(body));
                    thread::spawn_named("t", move || body(&memory))
                })
                .collect();
            match &program.main {
                Main::Ends => {}
                Main::Runs(body) => body(&memory),
                Main::Joins(body) => {
                    for handle in handles {
                        handle.join().unwrap();
                    }
                    body(&memory);
                }
            }
        },
        |ended: Ended<'_>| {
            let how = match ended {
                Ended::Complete => "complete",
                Ended::Broken(kind) => kind,
                Ended::Redundant | Ended::CutOff => return,
            };
            if let Some(memory) = &*memory.borrow() {
                ends.insert((how.to_owned(), memory.finals()));
            }
        },
    );
    (report, ends)
}

/// Looks for the classes of a program, in one order of its threads.
fn classes(program: &Program, order: &str, threads: &[Body], config: &Config) -> (Report, Ends) {
    let name = format!("{}, {order}", program.name);
    let (report, ends) = run(program, threads, config);
    match &report.verdict {
        Verdict::Holds => {}
        Verdict::Broken(violation) => {
            assert!(
                program.may_block && violation.kind == kind::DEADLOCK,
                "{name}: {report}"
            );
        }
        Verdict::NotExhausted(bound) => panic!("{name}: {bound}"),
    }
    (report, ends)
}

fn check(program: &Program) {
    let mut threads = program.threads.clone();
    let middle = threads.len() / 2;
    let mut seen: Option<Ends> = None;
    let config = Config::default().minimize_executions(u64::MAX);
    let mut counts = Vec::new();
    for order in ["as they stand", "reversed", "rotated"] {
        match order {
            "reversed" => threads.reverse(),
            "rotated" => threads.rotate_left(middle),
            _ => {}
        }
        let (report, ends) = classes(program, order, &threads, &config);
        assert_eq!(
            report.complete, program.classes,
            "{}, {order}: {} says otherwise",
            program.name, program.source
        );
        let seen = seen.get_or_insert_with(|| ends.clone());
        assert_eq!(&ends, seen, "{}, {order}", program.name);
        counts.push((report.executions, report.states));

        let config = config.clone().cache(true);
        let (cached, ends) = classes(program, order, &threads, &config);
        assert_eq!(&ends, seen, "{}, {order}, cached", program.name);
        assert!(
            cached.complete <= report.complete,
            "{}, {order}: {cached}",
            program.name
        );
        counts.push((cached.executions, cached.states));
    }
    let ends = seen.unwrap_or_default();
    let complete = ends.iter().filter(|(how, _)| how == "complete").count();
    if let Some(finals) = program.finals {
        assert_eq!(complete, finals, "{}", program.name);
    }
    println!(
        "{}: {} classes, {complete} final states; executions and states: {counts:?}",
        program.name, program.classes
    );
}

fn check_all(programs: impl IntoIterator<Item = Program>) {
    for program in programs {
        check(&program);
    }
}

/// What is only explored if one asks for it.
fn long(programs: impl FnOnce() -> Vec<Program>) -> Vec<Program> {
    if std::env::var_os("EXPLORE_LONG").is_some_and(|value| value == "1") {
        programs()
    } else {
        Vec::new()
    }
}

fn factorial(n: u32) -> u64 {
    (1..=u64::from(n)).product()
}

#[test]
fn litmus_tests() {
    check_all([
        litmus("SB", 3, "x=1 y | y=1 x"),
        litmus("SB+rfis", 3, "x=1 x y | y=1 y x"),
        litmus("MP", 3, "x=1 y=1 | y x"),
        litmus("MP+rel+acq", 2, "x=1 y=1 | y>0 x"),
        litmus("MP+rels+acq", 3, "x=1 y=0 y=1 | y>0 x"),
        litmus("MP+incMP", 7, "y z+1 | z+1 x | x=1 y=1"),
        litmus("MP2", 9, "a=1 c=1 b=1 d=1 | b a | d c"),
        litmus("MPU+rel+acq", 6, "x=1 y=1 | y+1 | y>1 x=2"),
        litmus("MPU+rels+acq", 12, "x=1 y=0 y=1 | y+1 | y>1 x=2"),
        litmus("MPU2+rel+acq", 14, "x=1 y=1 | y:2:3 | y:1:2 | y>2 x=2"),
        litmus("MPU2+rels+acq", 35, "x=1 y=0 y=1 | y:2:3 | y:1:2 | y>2 x=2"),
        litmus("LB", 3, "y x=1 | x y=1"),
        litmus("LB3", 7, "a b=1 | b c=1 | c a=1"),
        litmus("LB+incMPs", 15, "x z+1 | z+1 y=1 | y w+1 | w+1 x=1"),
        litmus("LB+fr-fr-data+data", 16, "x y=1 | y y x=1 | y=2"),
        litmus("S", 3, "x=2 y=1 | y x=1"),
        litmus("S+rel+acq", 2, "x=1 y=1 | y>0 x=2"),
        litmus("S+rels+acq", 3, "x=1 y=0 y=1 | y>0 x=2"),
        litmus("2+2W", 3, "x=1 y=2 | y=1 x=2"),
        litmus("2CoWR", 4, "y | x | x=1 | y=1"),
        litmus("CoRR", 6, "x=1 x=2 | x x"),
        litmus("CoRR0", 4, "x=1 | x | x"),
        litmus("CoRR1", 36, "x=1 | x=2 | x x | x"),
        litmus("CoRR2", 72, "x=1 | x=2 | x x | x x"),
        litmus("CoRW", 3, "x x=1 | x=2"),
        litmus("CoWR", 3, "x=1 x | x=2"),
        litmus("IRIW", 15, "x=1 | x y | y x | y=1"),
        litmus("IRIWish", 27, "x=1 | x y=1 | x y | y x"),
        litmus("JLT", 8, "x=1 y x | x=2 x | y=3"),
        litmus("MCP-rrw", 6, "x=1 | x=2 | x"),
        litmus("RMWFix", 4, "y>0 x+1 x+1 | x+1 | y=42"),
        litmus("RWC+syncs", 7, "x=1 | x y | y=1 x"),
        litmus("W+RWC", 7, "x=1 z=1 | z y | y=1 x"),
        litmus("W+RRR+W", 20, "x=1 | x x x | x=2"),
        litmus("WRC", 7, "x=1 | x y=1 | y x"),
        litmus("WWmerge1", 15, "x y | x=1 x=2 | y=1 x"),
        litmus("WWmerge2", 7, "x y | x=2 | y=1 x"),
        litmus("Z6+acq", 7, "a=1 b=1 | b c=1 | c=2 a"),
        litmus("Z6.U", 18, "x=1 y=1 | y+1 y | y=3 x"),
        litmus("atomicpo", 3, "y=1 x=1 | x~1 y~1"),
        litmus("ccr", 2, "x:0:42 | x:0:17 x"),
        litmus("cii", 6, "x:1:2 | x+1 | x+1"),
        litmus("cumul-release", 7, "x=1 y=1 | y z=1 | z x"),
        litmus("default", 12, "x x | x=1 | x=2"),
        litmus("detour", 9, "x=1 | z x=3 x y=1 | y z=1"),
        litmus("fr+w+w+w+reads", 210, "x=1 | x=2 | x=3 | x x x x"),
        litmus("inc+inc+RR+W+RR", 600, "x+1 | x+1 | x x | x=42 | x x"),
        litmus("inc2w", 6, "x+1 | x=4 | x+2"),
        litmus("ISA2", 7, "a=1 b=1 | b c=1 | c a"),
        litmus("ori", 5, "x+1 y=1 | x:0:1 | y>0 x=4"),
        litmus("peterZ", 7, "x=1 y | y=1 z=1 | z x"),
        litmus("po-loc", 3, "y x x=1 | x y=1"),
        litmus("rel-B-cumul-acq", 14, "x=1 y=1 | y z=1 | z x | y"),
        litmus("rel-pporf", 3, "x z=1 z~1 y=1 | y x=1"),
        litmus("relseq", 16, "x=1 y=1 y=2 | y~3 | y x"),
        litmus("rfi-preserved", 3, "x y=1 y z=1 | z x=1"),
        litmus("rii", 3, "x x+1 | x+1"),
        litmus("rinc+wr", 3, "x+1 | x=2 x"),
        litmus("riwi", 3, "y x+1 | x+1 y=1"),
        litmus("small0", 9, "x | x x=1 | x=2"),
        litmus("small1", 8, "y z x | x=1 | y=1 z=1"),
        litmus("viktor-relseq", 180, "l+1 l+1 | l+1 l+1 | l+1 | l+1"),
        litmus("wcii", 24, "x=5 | x:1:2 | x+1 | x+1"),
        litmus("wrc11_fp", 4, "x=1 | x=2 x x"),
        litmus("wrw(2)", 22, "x=1 | x x=2 | x x=3"),
        litmus("wrw(3)", 300, "x=1 | x x=2 | x x=3 | x x=4"),
        litmus("wrw(4)", 6_576, "x=1 | x x=2 | x x=3 | x x=4 | x x=5"),
        litmus("CoA(2)", 15, "x=1 y x | x=2 z x | y=1 z=1"),
        litmus("CoA(3)", 130, "x=1 y x | x=2 z x | y=1 z=1 | y=2 z=2"),
        litmus(
            "CoA(4)",
            2_028,
            "x=1 y x | x=2 z x | y=1 z=1 | y=2 z=2 | y=3 z=3",
        ),
        // The value that was read is the one that is replaced, elsewhere.
        program(
            "casdep",
            GENMC,
            2,
            vec![
                body(|m| {
                    let a = m.read(23);
                    m.cas(24, a, 1);
                    m.write(25, a);
                }),
                body(|m| m.write(24, 2)),
            ],
        ),
        // The second value is written only if both reads agree.
        program(
            "TC2",
            GENMC,
            4,
            vec![
                body(|m| {
                    if m.read(0) == m.read(0) {
                        m.write(1, 1);
                    }
                }),
                body(|m| m.write(0, m.read(1))),
            ],
        ),
        // Waits that can fail.
        program(
            "assume-ctrl",
            GENMC,
            4,
            vec![
                body(|m| {
                    // Two reads, of which the second is not made if the first is enough.
                    if m.read(1) >= 2 {
                        m.wait(1, |y| y > 3);
                    }
                    m.write(0, 1);
                }),
                body(|m| {
                    m.wait(0, |x| x < 3);
                    m.write(1, 3);
                    m.write(1, 4);
                }),
            ],
        )
        .may_block(),
    ]);
}

#[test]
fn reads_and_writes() {
    let readers = |n: u32| {
        let mut threads = times(n, |_| {
            body(|m| {
                m.read(0);
            })
        });
        threads.push(body(|m| m.write(0, 42)));
        program(format!("readers({n})"), GENMC, 1 << n, threads)
    };
    check_all([2, 8, 10].map(readers));
    check_all(long(|| vec![readers(13)]));

    // One reader twice, two readers twice, a writer that reads.
    let reads = |n: u32, text: &str| {
        let mut threads = times(n, |t| body(move |m| m.write(23, t + 1)));
        threads.extend(parse(text));
        threads
    };
    let pairs = |n: u32| u64::from((n + 2) * (n + 1) / 2);
    for n in [2, 3, 4] {
        let one = reads(n, "x x");
        let two = reads(n, "x x | x x");
        let own = reads(n, "x=9 x");
        check_all([
            program(format!("co1({n})"), FORMULA, factorial(n) * pairs(n), one),
            program(
                format!("CoRR2({n})"),
                FORMULA,
                factorial(n) * pairs(n).pow(2),
                two,
            ),
            program(format!("co4({n})"), FORMULA, factorial(n) * pairs(n), own),
        ]);
    }
    for n in [3, 4, 5] {
        let threads = times(n + 1, |t| body(move |m| m.write(0, t)));
        let reading = [threads.clone(), parse("a")].concat();
        let joined = times(n, |t| body(move |m| m.write(0, t + 1)));
        let same = [times(n, |_| body(|m| m.write(0, 1))), parse("a")].concat();
        let read = || {
            body(|m: &Memory| {
                m.read(0);
            })
        };
        let [with_reader, all, n_1] = [factorial(n + 2), factorial(n), factorial(n + 1)];
        check_all([
            program(format!("N-writers({n})"), GENMC, with_reader, reading),
            program(format!("n_writers_a_reader({n})"), NIDHUGG, n_1, same),
            program(format!("lastwrite({n})"), FORMULA, all, joined.clone())
                .main(Main::Joins(read())),
            program(format!("floating_read({n})"), NIDHUGG, n_1, joined).main(Main::Runs(read())),
        ]);
    }
    let same = [times(6, |_| body(|m| m.write(0, 1))), parse("a")].concat();
    check(&program("n_writers_a_reader(6)", NIDHUGG, 5_040, same));

    for (n, expected) in [(2, 4), (3, 36), (4, 576)] {
        let inc = times(n, |t| {
            body(move |m| {
                let before = m.read(0);
                m.write(0, before + (1 << t));
            })
        });
        let rw = times(n, |t| {
            body(move |m| {
                m.read(0);
                m.write(0, t);
            })
        });
        check_all([
            program(format!("inc({n})"), GENMC, expected, inc),
            program(format!("rw({n})"), GENMC, expected, rw),
        ]);
    }
    let big0 = "x y z w x y z | x y z | x=1 y=1 x=2 y=2 x=3 y=3 | z=1 w=1 z=2 w=2 z=3 w=3";
    let big1 = "x y z w x y z w | x y z w x y | x=1 y=1 x=2 y=2 x=3 y=3 | z=1 w=1 z=2 w=2 z=3 w=3";
    check_all(long(|| {
        vec![
            litmus("big0", 69_112, big0),
            litmus("big1", 1_820_474, big1),
        ]
    }));
}

#[test]
fn values_that_steer() {
    let lastzero = |n: u32| {
        let mut threads = times(n, |j| {
            body(move |m| {
                let before = m.read(j as usize);
                m.write(j as usize + 1, before + 1);
            })
        });
        threads.push(body(move |m| {
            let mut i = n as usize;
            while m.read(i) != 0 {
                i -= 1;
            }
        }));
        let classes = u64::from(n + 3) << (n - 2);
        program(format!("lastzero({n})"), GENMC, classes, threads)
    };
    check_all([5, 7, 10].map(lastzero));
    check_all(long(|| vec![lastzero(15)]));

    const TABLE: usize = 128;
    let indexer = |n: u32| {
        let threads = times(n, |t| {
            body(move |m| {
                for i in 0..4 {
                    let value = 11 * i + t;
                    let mut at = (7 * value) as usize % TABLE;
                    while !m.cas(at, 0, value) {
                        at = (at + 1) % TABLE;
                    }
                }
            })
        });
        let classes = 8_u64.pow(n.saturating_sub(11));
        program(format!("indexer({n})"), GENMC, classes, threads).words(vec![0; TABLE])
    };
    check_all([10, 12, 15].map(indexer));

    check_all([
        program("SharedPtr(100)", GENMC, 410, shared_pointer(100)).words(vec![3, 4, 0]),
        program("publish", GENMC, 42, {
            let reader = body(|m: &Memory| {
                for _ in 0..41 {
                    if m.read(1) == 1 {
                        assert_eq!(m.read(0), 42);
                        return;
                    }
                }
            });
            let writer = body(|m: &Memory| {
                m.write(0, 42);
                m.write(1, 1);
            });
            vec![reader, writer]
        }),
        program("eratosthenes(5)", GENMC, 398, times(2, |_| sieve(5))),
    ]);
}

/// Two threads direct a pointer, each to what the other one reads, and add to what it points to.
fn shared_pointer(n: u32) -> Vec<Body> {
    const POINTER: usize = 2;
    times(2, |t| {
        body(move |m| {
            m.write(POINTER, 1 - t);
            for _ in 0..n {
                m.read(t as usize);
            }
            let target = m.read(POINTER) as usize;
            m.write(target, m.read(target) + 3);
        })
    })
}

/// Marks primes with 1, their multiples with 2.
fn sieve(n: usize) -> Body {
    body(move |m| {
        for i in 0..n {
            if m.read(i) == 0 {
                m.write(i, 1);
                let mut multiple = 2 * i + 2;
                while multiple < n {
                    m.write(multiple, 2);
                    multiple += i + 2;
                }
            }
        }
    })
}

#[test]
fn read_modify_write() {
    // Each thread adds to `words` words, one after the other.
    let adders = |n: u32, words: usize| {
        times(n, |_| {
            body(move |m| {
                for word in 0..words {
                    m.add(word, 1);
                }
            })
        })
    };
    for n in [2, 3, 4] {
        let name = |name| format!("{name}({n})");
        check_all([
            program(name("ainc"), GENMC, factorial(n), adders(n, 1)),
            program(name("binc"), GENMC, factorial(n).pow(2), adders(n, 2)),
        ]);
    }
    check_all([
        program("ainc(6)", GENMC, 720, adders(6, 1)),
        program("cinc(2)", GENMC, 8, adders(2, 3)),
        program("cinc(3)", GENMC, 216, adders(3, 3)),
    ]);
    check(&program("cinc(4)", GENMC, 13_824, adders(4, 3)));

    // Additions that do not tell the value commute.
    let count = |n| times(n, |_| body(|m| m.counter.add(1)));
    let mut looked_at = count(3);
    looked_at.push(body(|m| {
        let _ = m.counter.get();
    }));
    let references = times(4, |_| {
        body(|m| {
            assert!(m.references.try_get());
            assert!(!m.references.put(1));
        })
    });
    check_all([
        program("ainc(6), commuting", NIDHUGG, 1, count(6)),
        program("commuting additions, and a read", FORMULA, 8, looked_at),
        program("references to what stays", FORMULA, 1, references),
    ]);

    for n in [2, 3, 4, 5] {
        let threads = times(n, |t| {
            body(move |m| {
                m.cas(0, 0, t + 1);
            })
        });
        check(&program(format!("cas({n})"), GENMC, n.into(), threads));
    }
    let rotations = [2, 5, 14, 43, 144, 523, 2_048];
    for (n, expected) in (2..).zip(rotations) {
        let threads = times(n, |t| {
            body(move |m| {
                m.cas(0, t, t + 1);
            })
        });
        check(&program(format!("casrot({n})"), GENMC, expected, threads));
    }
    let casw = |n: u32| {
        times(n, |t| {
            body(move |m| {
                m.cas(0, 0, 1);
                m.write(0, t + 3);
            })
        })
    };
    check_all([
        program("casw(2)", GENMC, 6, casw(2)),
        program("casw(3)", GENMC, 66, casw(3)),
        program("casw(4)", GENMC, 1_200, casw(4)),
    ]);
    check_all(long(|| vec![program("casw(5)", GENMC, 32_880, casw(5))]));
    for (n, expected) in (2..).zip([5, 13, 33, 81, 193, 449]) {
        let mut threads = times(n, |_| {
            body(|m| {
                m.cas(0, 2, 3);
            })
        });
        threads.push(body(|m| m.write(0, 2)));
        check(&program(format!("wcas({n})"), GENMC, expected, threads));
    }
    for n in [2, 3, 4] {
        let mut threads = adders(n, 1);
        threads.push(body(|m| m.write(0, 42)));
        check(&program(
            format!("wainc({n})"),
            GENMC,
            factorial(n + 1),
            threads,
        ));
    }
}

fn fib(n: u32, i: usize, j: usize) -> Body {
    body(move |m| {
        for _ in 0..n {
            let sum = m.read(i) + m.read(j);
            m.write(i, sum);
        }
    })
}

#[test]
fn fibonacci() {
    let threads = |n| vec![fib(n, 0, 1), fib(n, 1, 0)];
    let joined = |n, classes| {
        program(format!("fib({n}), joined"), GENMC, classes, threads(n))
            .words(vec![1, 1])
            .main(Main::Joins(body(move |m| {
                let limit = [34, 144, 610][n as usize - 3];
                assert!(m.read(0) <= limit && m.read(1) <= limit);
            })))
    };
    let unjoined = |n, classes| {
        program(format!("fib_bench({n})"), GENMC, classes, threads(n))
            .words(vec![1, 1])
            .main(Main::Runs(body(|m| {
                m.read(0);
                m.read(1);
            })))
    };
    check_all([joined(3, 141), joined(4, 1_107), joined(5, 8_953)]);
    check_all([unjoined(3, 1_698), unjoined(4, 19_605)]);
    check_all(long(|| vec![unjoined(5, 218_243)]));
}

#[test]
fn locks() {
    let increments = |n: u32, words: usize| {
        times(n, |_| {
            body(move |m| {
                m.lock(0);
                for word in 0..words {
                    m.write(word, m.read(word) + 1);
                }
                m.unlock(0);
            })
        })
    };
    for n in [2, 3, 4, 5] {
        check_all([
            program(
                format!("lockinc({n})"),
                GENMC,
                factorial(n),
                increments(n, 1),
            )
            .finals(1),
            program(
                format!("lock2inc({n})"),
                GENMC,
                factorial(n),
                increments(n, 2),
            )
            .finals(1),
        ]);
    }
    check(&program("lockinc(7)", GENMC, 5_040, increments(7, 1)));

    // As many threads share 13 blocks as there are above 13.
    for n in [14, 16, 18] {
        let classes = 1 << (n - 13);
        let threads = times(n, file_system);
        check(
            &program(format!("filesystem({n})"), PAPERS, classes, threads)
                .words(vec![0; 2 * FILES])
                .locks(2 * FILES),
        );
    }

    // Readers commute; each is before or after each writer.
    let shared = |readers: u32, writers: u32, read: fn(&Memory), write: fn(&Memory)| {
        let mut threads = times(readers, |_| body(read));
        threads.extend(times(writers, |_| body(write)));
        threads
    };
    let sem = |readers, writers| {
        let read = |m: &Memory| {
            m.sem.read();
            m.read(0);
            m.sem.read_unlock();
        };
        let write = |m: &Memory| {
            m.sem.write();
            m.add(0, 1);
            m.sem.write_unlock();
        };
        shared(readers, writers, read, write)
    };
    let rwlock = |readers, writers| {
        let read = |m: &Memory| {
            let _ = *m.rwlock.read().unwrap();
        };
        shared(readers, writers, read, |m| *m.rwlock.write().unwrap() += 1)
    };
    for (readers, writers, expected) in [(3, 1, 8), (2, 2, 18), (3, 2, 54), (1, 3, 24)] {
        let name = |name| format!("{name}({readers}, {writers})");
        check_all([
            program(name("rwsem"), FORMULA, expected, sem(readers, writers)),
            program(name("rwlock"), FORMULA, expected, rwlock(readers, writers)),
        ]);
    }
    let mutex = times(4, |_| body(|m| *m.mutex.lock().unwrap() += 1));
    check(&program("mutex(4)", FORMULA, 24, mutex));

    // Attempts: only who is first gets the lock, and the order of those that fail does not matter.
    let attempts = times(4, |t| {
        body(move |m| {
            if m.locks[0].try_lock() {
                m.write(0, t + 1);
                // Nobody ever gets it again.
                m.wait(1, |_| false);
            }
        })
    });
    check(&program("attempts(4)", FORMULA, 0, attempts).may_block());
}

const FILES: usize = 32;
const BLOCKS: usize = 26;

/// A thread looks for a free block for its file. Files are the lower words and locks, blocks the
/// upper ones.
fn file_system(t: u32) -> Body {
    let file = t as usize % FILES;
    body(move |m| {
        m.lock(file);
        if m.read(file) == 0 {
            let mut block = 2 * file % BLOCKS;
            for _ in 0..10 {
                let at = FILES + block;
                m.lock(at);
                let free = m.read(at) == 0;
                if free {
                    m.write(at, 1);
                    m.write(file, 1);
                }
                m.unlock(at);
                if free {
                    break;
                }
                block = (block + 1) % BLOCKS;
            }
        }
        m.unlock(file);
    })
}

#[test]
fn mutual_exclusion() {
    // The word of a thread, of the other one, and what both use.
    const TURN: usize = 2;
    const SHARED: usize = 3;
    let two = |f: fn(&Memory, usize, usize, u32)| {
        times(2, move |t| {
            let (me, other) = (t as usize, 1 - t as usize);
            body(move |m| f(m, me, other, t))
        })
    };
    let peterson = two(|m, me, other, t| {
        m.write(me, 1);
        m.write(TURN, 1 - t);
        if m.read(other) == 1 {
            m.wait(TURN, |turn| turn == t);
        }
        m.write(SHARED, t);
        assert_eq!(m.read(SHARED), t);
        m.write(me, 0);
    });
    let dekker_f = two(|m, me, other, t| {
        m.write(me, 1);
        if m.read(other) == 0 {
            m.write(SHARED, t);
            assert_eq!(m.read(SHARED), t);
        }
    });
    let szymanski = two(|m, me, other, t| {
        m.write(me, 1);
        m.wait(other, |flag| flag < 3);
        m.write(me, 3);
        if m.read(other) == 1 {
            m.write(me, 2);
            m.wait(other, |flag| flag == 4);
        }
        m.write(me, 4);
        m.wait(other, |flag| flag < 2);
        m.write(SHARED, t);
        m.read(SHARED);
        assert_eq!(m.read(SHARED), t);
        // Two reads, of which the second is not made if the first is enough.
        if m.read(other) >= 2 {
            m.wait(other, |flag| flag > 3);
        }
        m.write(me, 0);
    });
    check_all([
        program("peterson", GENMC, 4, peterson).may_block(),
        program("dekker_f", GENMC, 3, dekker_f),
        program("dekker2-fixed(3)", GENMC, 6, dekker2()),
        program("szymanski", GENMC, 6, szymanski).may_block(),
        program("lamport(2)", GENMC, 16, lamport(2, false)).may_block(),
        program("exponential_bug(3)", GENMC, 36_570, exponential_bug(3)),
    ]);
    check(&program("lamport(3)", NIDHUGG, 9_216, lamport(3, true)).may_block());
}

fn dekker2() -> Vec<Body> {
    let mut threads = parse("y=1 | x=1");
    let (x, y, z) = (23, 24, 25);
    threads[0] = body(move |m| {
        m.write(y, 1);
        if m.read(x) == 0 {
            m.write(z, 1);
        }
    });
    threads[1] = body(move |m| {
        m.write(x, 1);
        if m.read(y) == 0 {
            m.write(0, 1);
        }
    });
    threads.extend(parse("z>0 a>0 x=0 x=1 x=2 | z>0 a>0 x x x"));
    threads
}

/// Lamport's fast mutex for `n` threads, of the numbers 1 to `n`.
fn lamport(n: u32, critical: bool) -> Vec<Body> {
    const X: usize = 4;
    const Y: usize = 5;
    const CRITICAL: usize = 6;
    times(n, move |t| {
        let number = t + 1;
        let mine = t as usize;
        body(move |m| {
            loop {
                m.write(mine, 1);
                m.write(X, number);
                if m.read(Y) != 0 {
                    m.write(mine, 0);
                    m.wait(Y, |y| y == 0);
                    continue;
                }
                m.write(Y, number);
                if m.read(X) != number {
                    m.write(mine, 0);
                    for other in 0..n as usize {
                        m.wait(other, |waiting| waiting == 0);
                    }
                    if m.read(Y) != number {
                        m.wait(Y, |y| y == 0);
                        continue;
                    }
                }
                break;
            }
            if critical {
                m.write(CRITICAL, number);
                assert_eq!(m.read(CRITICAL), number);
            }
            m.write(Y, 0);
            m.write(mine, 0);
        })
    })
}

fn exponential_bug(n: u32) -> Vec<Body> {
    const X: usize = 0;
    const Y: usize = 1;
    vec![
        body(move |m| {
            for _ in 0..2 {
                m.lock(0);
                m.write(X, 1);
                for _ in 0..n {
                    m.write(Y, 1);
                }
                m.unlock(0);
            }
        }),
        body(|m| {
            for _ in 0..2 {
                m.lock(0);
                m.write(X, 0);
                m.unlock(0);
                if m.read(X) > 0 {
                    m.write(Y, m.read(Y) + 1);
                    m.write(X, 2);
                }
            }
        }),
        body(|m| {
            for _ in 0..2 {
                if m.read(X) > 1 {
                    if m.read(Y) == 3 {
                        return;
                    }
                    m.write(Y, 2);
                }
            }
        }),
    ]
}

/// Spin loops that wait are written as waits, as the other tool treats them, and rounds that fail end
/// the execution, where it does so.
#[test]
fn locks_made_of_atomics() {
    const LOCK: usize = 0;
    const OWNER: usize = 1;
    const SHARED: usize = 2;
    const WAITING: usize = 8;
    // Two threads write in the critical section, and read what they wrote.
    let guarded = |lock: fn(&Memory), unlock: fn(&Memory)| {
        times(2, move |t| {
            body(move |m| {
                lock(m);
                m.write(SHARED, t);
                assert_eq!(m.read(SHARED), t);
                unlock(m);
            })
        })
    };
    // Wait until the lock looks free, and attempt to take it. Tried again until it is taken, or
    // only once: the other tool does not count rounds that fail.
    let free = |m: &Memory| m.write(LOCK, 0);
    let look = |m: &Memory| m.wait(LOCK, |lock| lock == 0);
    let exchange = |m: &Memory| m.cas(LOCK, 0, 1);
    let swap = |m: &Memory| m.x[LOCK].swap(1, SeqCst) == 0;
    let spinning = |attempt: fn(&Memory) -> bool, once: bool| {
        times(2, move |t| {
            body(move |m| {
                look(m);
                while !attempt(m) {
                    if once {
                        m.give_up(LOCK);
                    }
                    look(m);
                }
                m.write(SHARED, t);
                assert_eq!(m.read(SHARED), t);
                free(m);
            })
        })
    };
    let next_owner = |m: &Memory| m.write(OWNER, m.read(OWNER) + 1);
    let ticketlock = guarded(
        |m| {
            let ticket = m.add(LOCK, 1);
            m.wait(OWNER, |owner| owner == ticket);
        },
        next_owner,
    );
    let twalock = guarded(
        |m| {
            let ticket = m.add(LOCK, 1);
            if m.read(OWNER) != ticket {
                m.wait(OWNER, |owner| owner == ticket);
            }
        },
        |m| {
            let next = m.read(OWNER) + 1;
            m.write(OWNER, next);
            m.add(WAITING + next as usize + 1, 1);
        },
    );
    const SIGNAL: usize = 3;
    let mutex = guarded(
        |m| {
            if m.cas(LOCK, 0, 1) {
                return;
            }
            loop {
                m.cas(LOCK, 1, 2);
                let signal = m.read(SIGNAL);
                if m.read(LOCK) == 2 {
                    m.wait(SIGNAL, |now| now != signal);
                }
                if m.cas(LOCK, 0, 2) {
                    return;
                }
            }
        },
        |m| {
            if !m.cas(LOCK, 1, 0) {
                m.write(LOCK, 0);
                m.add(SIGNAL, 1);
            }
        },
    );
    check_all([
        // For who comes second: the look comes before the first one's section or after it; if
        // before, the attempt comes in the middle of it or after it.
        program("spinlock(2)", FORMULA, 6, spinning(exchange, false)),
        program("ttaslock(2)", FORMULA, 6, spinning(swap, false)),
        program("spinlock(2), once", GENMC, 4, spinning(exchange, true)).may_block(),
        program("ttaslock(2), once", GENMC, 4, spinning(swap, true)).may_block(),
        program("ticketlock(2)", GENMC, 2, ticketlock),
        program("twalock(2)", GENMC, 4, twalock),
        program("mutex(2)", GENMC, 12, mutex),
        program("seqlock", GENMC, 2, {
            let reader = body(|m: &Memory| {
                m.lock(0);
                m.read(SHARED);
                m.unlock(0);
            });
            let writer = body(|m: &Memory| {
                m.lock(0);
                for _ in 0..2 {
                    m.write(OWNER, m.read(OWNER) + 1);
                    m.write(SHARED, 42);
                }
                m.unlock(0);
            });
            vec![reader, writer]
        }),
        program("linuxrwlocks(2), once", GENMC, 14, linux_rwlock(2))
            .words({
                let mut words = vec![0; 2];
                words[0] = BIAS;
                words
            })
            .may_block(),
    ]);
}

const BIAS: u32 = 0x0010_0000;

/// Each thread reads under the lock, then writes. The lock counts down from a bias; what a thread must
/// not have taken it gives back.
fn linux_rwlock(n: u32) -> Vec<Body> {
    fn take(m: &Memory, amount: u32, can: fn(u32) -> bool) {
        if !can(m.x[0].fetch_sub(amount, SeqCst)) {
            m.add(0, amount);
            m.give_up(0);
        }
    }
    times(n, |_| {
        body(|m| {
            take(m, 1, |value| value.cast_signed() > 0);
            m.read(1);
            m.add(0, 1);
            take(m, BIAS, |value| value == BIAS);
            m.write(1, 1);
            m.add(0, BIAS);
        })
    })
}

#[test]
fn data_structures() {
    let deque = |threads: &[&'static str]| {
        let threads = threads.iter().map(|&calls| deque_calls(calls));
        threads.collect::<Vec<_>>()
    };
    check_all([
        program("stc", GENMC, 37, stack_of_attempts()),
        program("dq", GENMC, 1_373, deque(&["++-+", "ss", "s"])),
        program("chase-lev", GENMC, 59, deque(&["+++++---++", "s"])),
        program("qu", GENMC, 39, queue_of_attempts()),
        program("treiber-stack", GENMC, 18, treiber_stack()).may_block(),
        program("mpmc-queue", GENMC, 3, bounded_queue())
            .words(vec![1, 0, 1, 17, 0, 0, 0])
            .may_block(),
        program("barrier", GENMC, 2, spinning_barrier()),
    ]);
}

/// A stack whose operations are attempted once. Nodes 1 and 2 are pushed by the first thread,
/// which pops one then; the second thread pops, and pushes node 3.
fn stack_of_attempts() -> Vec<Body> {
    fn data(node: u32) -> usize {
        2 * node as usize - 1
    }
    fn next(node: u32) -> usize {
        2 * node as usize
    }
    fn push(m: &Memory, node: u32) {
        m.write(data(node), node);
        let head = m.read(0);
        m.write(next(node), head);
        m.cas(0, head, node);
    }
    fn pop(m: &Memory) {
        let head = m.read(0);
        if head != 0 {
            m.read(data(head));
            let rest = m.read(next(head));
            m.cas(0, head, rest);
        }
    }
    vec![
        body(|m| {
            push(m, 1);
            push(m, 2);
            pop(m);
        }),
        body(|m| {
            pop(m);
            push(m, 3);
        }),
    ]
}

/// A deque that one thread pushes to (`+`) and pops from (`-`), and others steal from (`s`).
fn deque_calls(calls: &'static str) -> Body {
    const BOTTOM: usize = 0;
    const TOP: usize = 1;
    const LENGTH: u32 = 10;
    let at = |i: u32| 2 + (i % LENGTH) as usize;
    body(move |m| {
        for (number, call) in (1..).zip(calls.chars()) {
            match call {
                '+' => {
                    let bottom = m.read(BOTTOM);
                    if bottom - m.read(TOP) < LENGTH {
                        m.write(at(bottom), number);
                        m.write(BOTTOM, bottom + 1);
                    }
                }
                '-' => {
                    let bottom = m.read(BOTTOM);
                    m.write(BOTTOM, bottom - 1);
                    let top = m.read(TOP);
                    if top >= bottom {
                        m.write(BOTTOM, bottom);
                        continue;
                    }
                    m.read(at(bottom - 1));
                    if top + 1 == bottom {
                        m.cas(TOP, top, top + 1);
                        m.write(BOTTOM, bottom);
                    }
                }
                _ => {
                    let top = m.read(TOP);
                    if m.read(BOTTOM) > top {
                        m.read(at(top));
                        m.cas(TOP, top, top + 1);
                    }
                }
            }
        }
    })
}

/// A linked queue whose operations are attempted once. The first thread sets it up and enqueues node
/// 2; the second one enqueues node 3, and the third one dequeues, if they find it set up. Node 1 is
/// the one before the first, 0 none.
fn queue_of_attempts() -> Vec<Body> {
    const READY: usize = 0;
    const HEAD: usize = 1;
    const TAIL: usize = 2;
    fn next(node: u32) -> usize {
        2 + node as usize
    }
    fn data(node: u32) -> usize {
        6 + node as usize
    }
    fn enqueue(m: &Memory, node: u32) {
        m.write(data(node), node);
        m.write(next(node), 0);
        loop {
            let tail = m.read(TAIL);
            let after = m.read(next(tail));
            if after == 0 {
                if m.cas(next(tail), 0, node) {
                    m.write(TAIL, node);
                }
                return;
            }
            m.write(TAIL, after);
        }
    }
    vec![
        body(|m| {
            m.write(next(1), 0);
            m.write(HEAD, 1);
            m.write(TAIL, 1);
            m.write(READY, 1);
            enqueue(m, 2);
        }),
        body(|m| {
            if m.read(READY) == 1 {
                enqueue(m, 3);
            }
        }),
        body(|m| {
            if m.read(READY) == 1 {
                let head = m.read(HEAD);
                let node = m.read(next(head));
                if node != 0 && m.cas(HEAD, head, node) {
                    m.read(data(node));
                }
            }
        }),
    ]
}

/// Two threads write a word and push its number, and one pops and reads the word. Pointers carry a
/// count of changes. Popping is tried once: the other tool counts no rounds that fail without effect.
fn treiber_stack() -> Vec<Body> {
    const TOP: usize = 0;
    const CHANGE: u32 = 1 << 8;
    fn value(node: u32) -> usize {
        node as usize
    }
    fn next(node: u32) -> usize {
        2 + node as usize
    }
    fn word(number: u32) -> usize {
        5 + number as usize
    }
    let mut threads = times(2, |t| {
        let node = t + 1;
        body(move |m| {
            m.write(word(t), 42 + t);
            m.write(value(node), t);
            loop {
                let top = m.read(TOP);
                m.write(next(node), top);
                let changes = top / CHANGE + 1;
                if m.cas(TOP, top, changes * CHANGE + node) {
                    return;
                }
            }
        })
    });
    threads.push(body(|m| {
        let top = m.read(TOP);
        let node = top % CHANGE;
        if node == 0 {
            return;
        }
        let rest = m.read(next(node)) % CHANGE;
        if !m.cas(TOP, top, (top / CHANGE + 1) * CHANGE + rest) {
            m.give_up(TOP);
        }
        let number = m.read(value(node));
        if number != 0 {
            m.read(word(number));
        }
    }));
    threads
}

/// A bounded queue with one element in it: one thread writes one more, the other one reads until it
/// finds no more. Rounds of exchanges that fail are no executions, as in the other tool.
fn bounded_queue() -> Vec<Body> {
    /// How many were begun to be read, and written.
    const BEGUN: usize = 0;
    const READ: usize = 1;
    const WRITTEN: usize = 2;
    const ONE_READ: u32 = 1 << 16;
    let at = |i: u32| 3 + (i % 4) as usize;
    let halves = |begun: u32| (begun / ONE_READ, begun % ONE_READ);
    vec![
        body(move |m| {
            let begun = m.read(BEGUN);
            if !m.cas(BEGUN, begun, begun + 1) {
                m.give_up(BEGUN);
            }
            let (read, written) = halves(begun);
            m.wait(READ, |done| done == read);
            m.write(at(written), 1);
            m.add(WRITTEN, 1);
        }),
        body(move |m| {
            loop {
                let begun = m.read(BEGUN);
                let (read, written) = halves(begun);
                if read == written {
                    return;
                }
                if !m.cas(BEGUN, begun, begun + ONE_READ) {
                    m.give_up(BEGUN);
                }
                m.wait(WRITTEN, |done| done == written);
                m.add(READ, 1);
            }
        }),
    ]
}

/// Two threads meet. What one of them writes before is read by the other one after.
fn spinning_barrier() -> Vec<Body> {
    const WAITING: usize = 0;
    const STEP: usize = 1;
    const SHARED: usize = 2;
    fn meet(m: &Memory) {
        let step = m.read(STEP);
        if m.add(WAITING, 1) == 1 {
            m.write(WAITING, 0);
            m.add(STEP, 1);
        } else {
            m.wait(STEP, |now| now != step);
        }
    }
    vec![
        body(|m| {
            m.write(SHARED, 42);
            meet(m);
        }),
        body(|m| {
            meet(m);
            assert_eq!(m.read(SHARED), 42);
        }),
    ]
}

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
