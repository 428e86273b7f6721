//! Thread k sets a word to k if it is k - 1.
//!
//! The classes were counted by GenMC and Nidhugg.

use std::sync::Arc;

use super::Program;

/// See the [module](self).
pub(crate) struct CasRot {
    pub(crate) threads: u32,
}

impl Program for CasRot {
    fn name(&self) -> String {
        format!("casrot({})", self.threads)
    }

    fn threads(&self) -> usize {
        1 + self.threads as usize
    }

    fn classes(&self) -> u64 {
        match self.threads {
            3 => 5,
            4 => 14,
            5 => 43,
            n => panic!("no number of classes is known for casrot({n})"),
        }
    }

    fn pagefold(&self) {
        use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use pagefold_explore::thread;

        let word = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (1..=self.threads)
            .map(|k| {
                let word = Arc::clone(&word);
                thread::spawn_named("t", move || {
                    word.compare_exchange(k - 1, k, SeqCst, SeqCst).is_ok()
                })
            })
            .collect();
        let set = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|&set| set)
            .count();
        assert_eq!(word.load(SeqCst) as usize, set);
    }

    fn loom(&self) {
        use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use loom::thread;

        let word = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (1..=self.threads)
            .map(|k| {
                let word = Arc::clone(&word);
                thread::spawn(move || word.compare_exchange(k - 1, k, SeqCst, SeqCst).is_ok())
            })
            .collect();
        let set = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|&set| set)
            .count();
        assert_eq!(word.load(SeqCst) as usize, set);
    }

    fn shuttle(&self) {
        use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use shuttle::thread;

        let word = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (1..=self.threads)
            .map(|k| {
                let word = Arc::clone(&word);
                thread::spawn(move || word.compare_exchange(k - 1, k, SeqCst, SeqCst).is_ok())
            })
            .collect();
        let set = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|&set| set)
            .count();
        assert_eq!(word.load(SeqCst) as usize, set);
    }
}
