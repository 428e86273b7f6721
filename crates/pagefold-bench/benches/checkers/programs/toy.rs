//! Three threads that each increment three words in turn, every word under a mutex of its own.
//!
//! The orders of the threads are independent of each other between mutexes: (3!)³ classes.

use std::sync::Arc;

use super::{Program, factorial};

const THREADS: u32 = 3;
const WORDS: u32 = 3;

/// See the [module](self).
pub(crate) struct Toy;

impl Program for Toy {
    fn name(&self) -> String {
        format!("toy({THREADS}, {WORDS})")
    }

    fn threads(&self) -> usize {
        1 + THREADS as usize
    }

    fn classes(&self) -> u64 {
        factorial(THREADS).pow(WORDS)
    }

    fn pagefold(&self) {
        use pagefold_explore::sync::Mutex;
        use pagefold_explore::thread;

        let words = Arc::new([(); WORDS as usize].map(|()| Mutex::new(0)));
        let threads = [(); THREADS as usize].map(|()| {
            let words = Arc::clone(&words);
            thread::spawn_named("t", move || {
                for word in words.iter() {
                    *word.lock().unwrap() += 1;
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for word in words.iter() {
            assert_eq!(*word.lock().unwrap(), THREADS);
        }
    }

    fn loom(&self) {
        use loom::sync::Mutex;
        use loom::thread;

        let words = Arc::new([(); WORDS as usize].map(|()| Mutex::new(0)));
        let threads = [(); THREADS as usize].map(|()| {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                for word in words.iter() {
                    *word.lock().unwrap() += 1;
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for word in words.iter() {
            assert_eq!(*word.lock().unwrap(), THREADS);
        }
    }

    fn shuttle(&self) {
        use shuttle::sync::Mutex;
        use shuttle::thread;

        let words = Arc::new([(); WORDS as usize].map(|()| Mutex::new(0)));
        let threads = [(); THREADS as usize].map(|()| {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                for word in words.iter() {
                    *word.lock().unwrap() += 1;
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for word in words.iter() {
            assert_eq!(*word.lock().unwrap(), THREADS);
        }
    }
}
