//! Execution counts of programs from the literature: the reduced search must start one complete
//! execution for each class of equivalent interleavings, no more and no less, in whatever order
//! the threads are spawned.
//!
//! Sources of the numbers: the expectations in GenMC's test-suite under sequential consistency,
//! Nidhugg, and closed forms.

use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
use pagefold_explore::sync::{Arc, Counter, LockClass, RawLock, RawRwSem};
use pagefold_explore::{Config, Verdict, explore, thread};

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

/// Complete executions of threads that all start together.
fn classes(name: &str, threads: &[Body], main: Option<fn(&Memory)>) -> u64 {
    let report = explore(&Config::default(), || {
        let memory = Arc::new(Memory::new());
        for body in threads {
            let (memory, body) = (Arc::clone(&memory), Arc::clone(body));
            thread::spawn_named("t", move || body(&memory));
        }
        if let Some(main) = main {
            main(&memory);
        }
    });
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

#[test]
fn readers() {
    for n in [2, 8] {
        let mut threads = times(n, |_| {
            body(|m| {
                m.read(0);
            })
        });
        threads.push(body(|m| m.write(0, 42)));
        expect("readers", 1 << n, threads);
    }
}

#[test]
fn lastzero() {
    for (n, expected) in [(5, 64), (7, 320)] {
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
        expect("lastzero", expected, threads);
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

#[test]
fn locks() {
    for (n, expected) in [(3, 6), (4, 24), (5, 120)] {
        let threads = times(n, |_| {
            body(|m| {
                m.locks[0].lock();
                m.write(0, m.read(0) + 1);
                m.locks[0].unlock();
            })
        });
        expect("lockinc", expected, threads);
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
            for _ in 0..k {
                if m.read(entry(i)) == 1 {
                    m.locks[entry_lock(i)].lock();
                    if m.read(entry(i)) == 1 {
                        m.write(entry(i), 0);
                    }
                    m.locks[entry_lock(i)].unlock();
                }
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
