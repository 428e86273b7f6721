//! One thread writes to a word, the others read it.
//!
//! Each read sees the write or not: 2ᴺ classes.

use std::sync::Arc;

use super::Program;

/// See the [module](self).
pub(crate) struct Readers {
    pub(crate) readers: u32,
}

impl Program for Readers {
    fn name(&self) -> String {
        format!("readers({})", self.readers)
    }

    fn threads(&self) -> usize {
        2 + self.readers as usize
    }

    fn classes(&self) -> u64 {
        1 << self.readers
    }

    fn pagefold(&self) {
        use pagefold_explore::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use pagefold_explore::thread;

        let word = Arc::new(AtomicU32::new(0));
        let writer = {
            let word = Arc::clone(&word);
            thread::spawn_named("t", move || word.store(42, SeqCst))
        };
        let readers: Vec<_> = (0..self.readers)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn_named("t", move || word.load(SeqCst))
            })
            .collect();
        writer.join().unwrap();
        for reader in readers {
            assert!([0, 42].contains(&reader.join().unwrap()));
        }
    }

    fn loom(&self) {
        use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use loom::thread;

        let word = Arc::new(AtomicU32::new(0));
        let writer = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.store(42, SeqCst))
        };
        let readers: Vec<_> = (0..self.readers)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || word.load(SeqCst))
            })
            .collect();
        writer.join().unwrap();
        for reader in readers {
            assert!([0, 42].contains(&reader.join().unwrap()));
        }
    }

    fn shuttle(&self) {
        use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
        use shuttle::thread;

        let word = Arc::new(AtomicU32::new(0));
        let writer = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.store(42, SeqCst))
        };
        let readers: Vec<_> = (0..self.readers)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || word.load(SeqCst))
            })
            .collect();
        writer.join().unwrap();
        for reader in readers {
            assert!([0, 42].contains(&reader.join().unwrap()));
        }
    }
}
