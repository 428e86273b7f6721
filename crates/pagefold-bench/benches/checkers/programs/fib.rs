//! Two threads that each add the word of the other to their own, several times.
//!
//! The classes were counted by GenMC and Nidhugg.

use std::sync::Arc;

use super::Program;

/// See the [module](self).
pub(crate) struct Fib {
    pub(crate) rounds: u32,
}

impl Program for Fib {
    fn name(&self) -> String {
        format!("fib({})", self.rounds)
    }

    fn threads(&self) -> usize {
        3
    }

    fn classes(&self) -> u64 {
        match self.rounds {
            3 => 141,
            4 => 1_107,
            5 => 8_953,
            n => panic!("no number of classes is known for fib({n})"),
        }
    }

    fn pagefold(&self) {
        use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use pagefold_explore::thread;

        let words = Arc::new([AtomicU32::new(1), AtomicU32::new(1)]);
        let threads = [(0, 1), (1, 0)].map(|(own, other)| {
            let (words, rounds) = (Arc::clone(&words), self.rounds);
            thread::spawn_named("t", move || {
                for _ in 0..rounds {
                    let sum = words[own].load(SeqCst) + words[other].load(SeqCst);
                    words[own].store(sum, SeqCst);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let largest = words[0].load(SeqCst).max(words[1].load(SeqCst));
        assert!(largest <= fibonacci(2 * self.rounds + 2));
    }

    fn loom(&self) {
        use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use loom::thread;

        let words = Arc::new([AtomicU32::new(1), AtomicU32::new(1)]);
        let threads = [(0, 1), (1, 0)].map(|(own, other)| {
            let (words, rounds) = (Arc::clone(&words), self.rounds);
            thread::spawn(move || {
                for _ in 0..rounds {
                    let sum = words[own].load(SeqCst) + words[other].load(SeqCst);
                    words[own].store(sum, SeqCst);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let largest = words[0].load(SeqCst).max(words[1].load(SeqCst));
        assert!(largest <= fibonacci(2 * self.rounds + 2));
    }

    fn shuttle(&self) {
        use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use shuttle::thread;

        let words = Arc::new([AtomicU32::new(1), AtomicU32::new(1)]);
        let threads = [(0, 1), (1, 0)].map(|(own, other)| {
            let (words, rounds) = (Arc::clone(&words), self.rounds);
            thread::spawn(move || {
                for _ in 0..rounds {
                    let sum = words[own].load(SeqCst) + words[other].load(SeqCst);
                    words[own].store(sum, SeqCst);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let largest = words[0].load(SeqCst).max(words[1].load(SeqCst));
        assert!(largest <= fibonacci(2 * self.rounds + 2));
    }
}

/// The `n`th number of the sequence 1, 1, 2, 3, 5...: what the words are at most after `n - 2` sums.
fn fibonacci(n: u32) -> u32 {
    (1..n).fold((0, 1), |(a, b), _| (b, a + b)).1
}
