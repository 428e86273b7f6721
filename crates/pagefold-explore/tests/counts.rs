//! Execution counts of programs from the literature: the reduced search must start one complete
//! execution for each class of equivalent interleavings, no more and no less, in whatever order
//! the threads are spawned.
//!
//! Sources of the numbers: the expectations in GenMC's test-suite under sequential consistency,
//! Nidhugg, and closed forms.

use std::cell::RefCell;
use std::collections::BTreeSet;

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, Counter, LockClass, RawLock, RawRwSem};
use pagefold_explore::{
    Config, Ended, Report, Verdict, explore, explore_observed, hint, quiet, thread,
};

/// The shared state of all programs here.
struct Memory {
    x: [AtomicU32; 16],
    counter: Counter,
    locks: [RawLock; 8],
    sem: RawRwSem,
}

static LOCK: LockClass = LockClass::spin("lock").ranked(1);
static SEM: LockClass = LockClass::sleep("sem");

impl Memory {
    fn new() -> Self {
        Self {
            x: std::array::from_fn(|_| AtomicU32::new(0)),
            counter: Counter::new(0),
            locks: std::array::from_fn(|_| RawLock::new(&LOCK)),
            sem: RawRwSem::new(&SEM),
        }
    }

    /// Has all objects known by the same names in all interleavings.
    fn use_all(&self) {
        quiet(|| {
            for word in &self.x {
                word.load(SeqCst);
            }
            let _ = self.counter.get();
            for lock in &self.locks {
                lock.lock();
                lock.unlock();
            }
            self.sem.read();
            self.sem.read_unlock();
        });
    }

    fn values(&self) -> Vec<u64> {
        let words = self.x.iter().map(|word| word.load_quiet().into());
        words
            .chain([self.counter.get_quiet().cast_unsigned()])
            .collect()
    }

    fn read(&self, i: usize) -> u32 {
        self.x[i].load(SeqCst)
    }

    fn write(&self, i: usize, value: u32) {
        self.x[i].store(value, SeqCst);
    }

    fn cas(&self, i: usize, from: u32, to: u32) -> bool {
        self.x[i].compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }
}

type Body = Arc<dyn Fn(&Memory)>;

fn body(f: impl Fn(&Memory) + 'static) -> Body {
    Arc::new(f)
}

/// Explores threads that all start together. Returns the final states, too.
fn explored(
    config: &Config,
    threads: &[Body],
    main: Option<fn(&Memory)>,
) -> (Report, BTreeSet<Vec<u64>>) {
    let world: RefCell<Option<Arc<Memory>>> = RefCell::default();
    let mut finals = BTreeSet::new();
    let program = || {
        let memory = Arc::new(Memory::new());
        *world.borrow_mut() = Some(Arc::clone(&memory));
        memory.use_all();
        for body in threads {
            let (memory, body) = (Arc::clone(&memory), Arc::clone(body));
            thread::spawn_named("t", move || body(&memory));
        }
        if let Some(main) = main {
            main(&memory);
        }
    };
    let report = explore_observed(config, program, |ended: Ended<'_>| {
        if let (Ended::Complete, Some(memory)) = (ended, &*world.borrow()) {
            finals.insert(memory.values());
        }
    });
    (report, finals)
}

/// Complete executions of threads that all start together. With the cache, the final states must be
/// the same.
fn classes(name: &str, threads: &[Body], main: Option<fn(&Memory)>) -> u64 {
    let (report, finals) = explored(&Config::default(), threads, main);
    let (cached, cached_finals) = explored(&Config::default().cache(true), threads, main);
    assert!(matches!(cached.verdict, Verdict::Holds), "{name}: {cached}");
    assert_eq!(cached_finals, finals, "{name}");
    assert!(cached.complete <= report.complete, "{name}: {cached:?}");
    println!(
        "{name}: cache {} executions, {} complete, {} blocked, {} cut, {} states",
        cached.executions, cached.complete, cached.blocked, cached.cut, cached.states
    );
    assert!(matches!(report.verdict, Verdict::Holds), "{name}: {report}");
    assert_eq!(
        report.executions,
        report.complete + report.blocked,
        "{name}"
    );
    println!(
        "{name}: {} complete, {} blocked, {} states",
        report.complete, report.blocked, report.states
    );
    report.complete
}

/// Checks the count in several orders of the threads.
fn expect(name: &str, expected: u64, mut threads: Vec<Body>) {
    assert_eq!(classes(name, &threads, None), expected, "{name}");
    threads.reverse();
    assert_eq!(classes(name, &threads, None), expected, "{name}, reversed");
    let middle = threads.len() / 2;
    threads.rotate_left(middle);
    assert_eq!(classes(name, &threads, None), expected, "{name}, rotated");
}

fn times(n: u32, f: impl Fn(u32) -> Body) -> Vec<Body> {
    (0..n).map(f).collect()
}

fn readers_of(n: u32) -> Vec<Body> {
    let mut threads = times(n, |_| {
        body(|m| {
            m.read(0);
        })
    });
    threads.push(body(|m| m.write(0, 42)));
    threads
}

#[test]
fn readers() {
    for n in [2, 8] {
        expect("readers", 1 << n, readers_of(n));
    }
}

fn lastzero_of(n: u32) -> Vec<Body> {
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
    threads
}

#[test]
fn lastzero() {
    for (n, expected) in [(5, 64), (7, 320)] {
        expect("lastzero", expected, lastzero_of(n));
    }
}

#[test]
fn additions() {
    let fetch_add = times(4, |_| {
        body(|m| {
            m.x[0].fetch_add(1, SeqCst);
        })
    });
    expect("ainc", 24, fetch_add);
    expect(
        "ainc with a counter",
        1,
        times(4, |_| body(|m| m.counter.add(1))),
    );
    let two = times(3, |_| {
        body(|m| {
            m.x[0].fetch_add(1, SeqCst);
            m.x[1].fetch_add(1, SeqCst);
        })
    });
    expect("binc", 36, two);
}

#[test]
fn increments() {
    for (n, expected) in [(2, 4), (3, 36)] {
        let threads = times(n, |t| {
            body(move |m| {
                let before = m.read(0);
                m.write(0, before + (1 << t));
            })
        });
        expect("inc", expected, threads);
    }
}

#[test]
fn compare_exchange() {
    expect(
        "cas",
        3,
        times(3, |t| {
            body(move |m| {
                m.cas(0, 0, t + 1);
            })
        }),
    );
    for (n, expected) in [(3, 5), (4, 14), (5, 43)] {
        let threads = times(n, |t| {
            body(move |m| {
                m.cas(0, t, t + 1);
            })
        });
        expect("casrot", expected, threads);
    }
    for (n, expected) in [(2, 6), (3, 66)] {
        let threads = times(n, |t| {
            body(move |m| {
                m.cas(0, 0, 1);
                m.write(0, t + 3);
            })
        });
        expect("casw", expected, threads);
    }
}

fn lockinc_of(n: u32) -> Vec<Body> {
    times(n, |_| {
        body(|m| {
            m.locks[0].lock();
            m.write(0, m.read(0) + 1);
            m.locks[0].unlock();
        })
    })
}

#[test]
fn locks() {
    for (n, expected) in [(3, 6), (4, 24), (5, 120)] {
        expect("lockinc", expected, lockinc_of(n));
    }
}

#[test]
fn shared_locks() {
    // Readers commute; each order of the writer among... it is before or after each reader.
    let mut threads = times(3, |_| {
        body(|m| {
            m.sem.read();
            m.read(0);
            m.sem.read_unlock();
        })
    });
    threads.push(body(|m| {
        m.sem.write();
        m.write(0, 1);
        m.sem.write_unlock();
    }));
    expect("rwsem", 8, threads);
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
    expect("fib", 141, vec![fib(3, 0, 1), fib(3, 1, 0)]);
    expect("fib", 1_107, vec![fib(4, 0, 1), fib(4, 1, 0)]);
    let reads: fn(&Memory) = |m| {
        m.read(0);
        m.read(1);
    };
    assert_eq!(
        classes("fib_bench", &[fib(3, 0, 1), fib(3, 1, 0)], Some(reads)),
        1_698
    );
}

#[test]
fn litmus() {
    let write = |i| body(move |m| m.write(i, 1));
    let write_read = |i, j| {
        body(move |m| {
            m.write(i, 1);
            m.read(j);
        })
    };
    let read_write = |i, j| {
        body(move |m| {
            m.read(i);
            m.write(j, 1);
        })
    };
    let write_write = |i, j| {
        body(move |m| {
            m.write(i, 1);
            m.write(j, 2);
        })
    };
    let read_read = |i, j| {
        body(move |m| {
            m.read(i);
            m.read(j);
        })
    };
    expect("SB", 3, vec![write_read(0, 1), write_read(1, 0)]);
    expect("MP", 3, vec![write_write(0, 1), read_read(1, 0)]);
    expect("LB", 3, vec![read_write(0, 1), read_write(1, 0)]);
    expect("S", 3, vec![write_write(0, 1), read_write(1, 0)]);
    expect("2+2W", 3, vec![write_write(0, 1), write_write(1, 0)]);
    expect(
        "IRIW",
        15,
        vec![write(0), write(1), read_read(0, 1), read_read(1, 0)],
    );
    expect("WRC", 7, vec![write(0), read_write(0, 1), read_read(1, 0)]);
    expect(
        "isa2",
        7,
        vec![write_write(0, 1), read_write(1, 2), read_read(2, 0)],
    );
    expect(
        "W+RWC",
        7,
        vec![write_write(0, 1), read_read(1, 2), write_read(2, 0)],
    );
}

/// The race of a huge-page collapse with page faults, as locks and words.
///
/// One thread takes the mapping's lock and, for each of `v` tables, reads the entry that refers to
/// it, takes the lock of that entry and that of the table, and clears the entry unless a flag is
/// set. Each of `f` threads faults `k` times: it reads the entry, sets it under its lock if it is
/// clear, and under the table's lock reads it again and writes to the table if it is set. One
/// thread sets the flag of the first table under its lock.
fn collapse(v: usize, f: usize, k: usize) -> Vec<Body> {
    const MAPPING: usize = 0;
    // Entries are present at first: a clear entry is a 1 here.
    let entry = |i: usize| i;
    let flag = |i: usize| 4 + i;
    let page = |i: usize| 8 + i;
    let entry_lock = |i: usize| 1 + i;
    let table_lock = |i: usize| 4 + i;
    let mut threads = vec![body(move |m| {
        m.locks[MAPPING].lock();
        for i in 0..v {
            if m.read(entry(i)) == 1 {
                continue;
            }
            m.locks[entry_lock(i)].lock_nested();
            m.locks[table_lock(i)].lock_nested();
            if m.read(flag(i)) == 0 {
                m.write(entry(i), 1);
            }
            m.locks[table_lock(i)].unlock();
            m.locks[entry_lock(i)].unlock();
        }
        m.locks[MAPPING].unlock();
    })];
    for t in 0..f {
        let i = t % v;
        threads.push(body(move |m| {
            for round in 0..k {
                hint::checkpoint(round as u64);
                if m.read(entry(i)) == 1 {
                    m.locks[entry_lock(i)].lock();
                    if m.read(entry(i)) == 1 {
                        m.write(entry(i), 0);
                    }
                    m.locks[entry_lock(i)].unlock();
                }
                hint::checkpoint(round as u64);
                m.locks[table_lock(i)].lock();
                if m.read(entry(i)) == 0 {
                    m.write(page(i), 1);
                }
                m.locks[table_lock(i)].unlock();
            }
        }));
    }
    threads.push(body(move |m| {
        m.locks[table_lock(0)].lock();
        m.write(flag(0), 1);
        m.locks[table_lock(0)].unlock();
    }));
    threads
}

#[test]
fn collapses() {
    expect("collapse(1,1,1)", 8, collapse(1, 1, 1));
    expect("collapse(1,2,1)", 70, collapse(1, 2, 1));
    expect("collapse(2,2,2)", 85, collapse(2, 2, 2));
    let threads = collapse(2, 3, 2);
    assert_eq!(classes("collapse(2,3,2)", &threads, None), 4_430);
}

/// Words are inserted into a hash table: each of `n` threads puts four of them where it finds a free
/// place first. Few of them meet.
fn indexer(n: u32) -> impl Fn() {
    const SIZE: u32 = 128;
    move || {
        let table: Arc<[AtomicU32]> = (0..SIZE).map(|_| AtomicU32::new(0)).collect();
        quiet(|| table.iter().map(|word| word.load(SeqCst)).sum::<u32>());
        for thread in 0..n {
            let table = Arc::clone(&table);
            thread::spawn_named("t", move || {
                for message in 1..=4 {
                    let word = message * 11 + thread;
                    let mut place = (word * 7) % SIZE;
                    while table[place as usize]
                        .compare_exchange(0, word, SeqCst, SeqCst)
                        .is_err()
                    {
                        place = (place + 1) % SIZE;
                    }
                }
            });
        }
    }
}

/// What the cache makes of programs that are larger, and of one that is too large without it.
#[test]
#[ignore = "takes seconds with optimization, minutes without"]
fn large_programs_with_the_cache() {
    fn show(name: &str, report: &Report) {
        let leaves = report.executions;
        assert!(matches!(report.verdict, Verdict::Holds), "{name}: {report}");
        println!(
            "{name}: {leaves} leaves ({} complete, {} blocked, {} cut), {} states",
            report.complete, report.blocked, report.cut, report.states
        );
    }
    let cached = Config::default().cache(true);
    for (name, classes, threads) in [
        ("lastzero(10)", 3_328, lastzero_of(10)),
        ("readers(13)", 8_192, readers_of(13)),
        ("lockinc(7)", 5_040, lockinc_of(7)),
        ("collapse(1,3,2)", 112_020, collapse(1, 3, 2)),
    ] {
        let (report, finals) = explored(&Config::default(), &threads, None);
        show(name, &report);
        assert_eq!(report.complete, classes, "{name}");
        let (report, with_cache) = explored(&cached, &threads, None);
        show(&format!("{name}, cache"), &report);
        assert_eq!(with_cache, finals, "{name}");
    }
    let report = explore(&Config::default(), indexer(15));
    show("indexer(15)", &report);
    assert_eq!(report.complete, 4_096);
    show("indexer(15), cache", &explore(&cached, indexer(15)));
    // More than three million classes. One round more or less makes no other ends.
    let (_, finals) = explored(&cached, &collapse(1, 3, 2), None);
    let (report, more) = explored(&cached, &collapse(1, 3, 3), None);
    show("collapse(1,3,3), cache", &report);
    assert_eq!(more, finals);
}
