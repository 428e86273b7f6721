//! Programs that read and write words.

use crate::check::{check, check_all, factorial, long};
use crate::memory::{Body, Memory, body, times};
use crate::notation::parse;
use crate::table::{FORMULA, GENMC, Main, NIDHUGG, litmus, program};

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
