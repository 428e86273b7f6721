//! Threads that each increment one word under one mutex.
//!
//! Nothing but the order of the threads can differ: N! classes.

use std::sync::Arc;

use super::{Program, factorial};

/// See the [module](self).
pub(crate) struct LockInc {
    pub(crate) threads: u32,
}

impl Program for LockInc {
    fn name(&self) -> String {
        format!("lockinc({})", self.threads)
    }

    fn threads(&self) -> usize {
        1 + self.threads as usize
    }

    fn classes(&self) -> u64 {
        factorial(self.threads)
    }

    fn pagefold(&self) {
        use pagefold_explore::sync::Mutex;
        use pagefold_explore::thread;

        let word = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..self.threads)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn_named("t", move || *word.lock().unwrap() += 1)
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*word.lock().unwrap(), self.threads);
    }

    fn loom(&self) {
        use loom::sync::Mutex;
        use loom::thread;

        let word = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..self.threads)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || *word.lock().unwrap() += 1)
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*word.lock().unwrap(), self.threads);
    }

    fn shuttle(&self) {
        use shuttle::sync::Mutex;
        use shuttle::thread;

        let word = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..self.threads)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || *word.lock().unwrap() += 1)
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*word.lock().unwrap(), self.threads);
    }
}
