//! Locks made of atomics.

use pagefold_explore::sync::atomic::Ordering::SeqCst;

use crate::check::check_all;
use crate::memory::{Body, Memory, body, times};
use crate::table::{FORMULA, GENMC, program};

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
