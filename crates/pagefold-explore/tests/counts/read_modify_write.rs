//! Programs that change words in one step, or in two.

use crate::check::{check, check_all, factorial, long};
use crate::memory::{Body, body, times};
use crate::table::{FORMULA, GENMC, Main, NIDHUGG, program};

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
