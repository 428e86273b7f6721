//! Algorithms of mutual exclusion by reading and writing.

use crate::check::{check, check_all};
use crate::memory::{Body, Memory, body, times};
use crate::notation::parse;
use crate::table::{GENMC, NIDHUGG, program};

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
