//! Programs with locks.

use crate::check::{check, check_all, factorial};
use crate::memory::{Body, Memory, body, times};
use crate::table::{FORMULA, GENMC, PAPERS, program};

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
