//! A sequence lock: readers do not write, and notice that a writer was there.
//!
//! A writer makes the sequence number odd, writes, and makes it even again. A reader waits for an even number, reads, and looks
//! again: if the number is another one, it has read a mixture of old and new, and starts again. Both halves are needed.
//!
//! `cargo run --example seqlock`

use pagefold_explore::sync::Arc;
use pagefold_explore::sync::atomic::{AtomicU32, Ordering};
use pagefold_explore::{Config, Report, explore, hint, thread};

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// A planted bug: the reader does not look at the number again.
    SecondLook,
    /// A planted bug: the writer counts when it is done, and does not say that it has begun.
    OddNumber,
}

struct SeqLock {
    sequence: AtomicU32,
    words: [AtomicU32; 2],
    without: Without,
}

impl SeqLock {
    fn read(&self) -> [u32; 2] {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let words = self
                    .words
                    .each_ref()
                    .map(|word| word.load(Ordering::Acquire));
                if self.without == Without::SecondLook
                    || self.sequence.load(Ordering::Relaxed) == before
                {
                    return words;
                }
            }
            hint::spin_loop();
        }
    }

    /// There is one writer only.
    fn write(&self, value: u32) {
        let begin = u32::from(self.without != Without::OddNumber);
        if begin != 0 {
            self.sequence.fetch_add(begin, Ordering::Acquire);
        }
        for word in &self.words {
            word.store(value, Ordering::Release);
        }
        self.sequence.fetch_add(2 - begin, Ordering::Release);
    }
}

/// A writer, and two readers that must not see a mixture.
fn program(config: &Config, without: Without) -> Report {
    explore(config, || {
        let lock = Arc::new(SeqLock {
            sequence: AtomicU32::new(0),
            words: [AtomicU32::new(0), AtomicU32::new(0)],
            without,
        });
        for name in ["left", "right"] {
            let lock = Arc::clone(&lock);
            thread::spawn_named(name, move || {
                let [first, second] = lock.read();
                assert_eq!(first, second, "a mixture of old and new");
            });
        }
        thread::spawn_named("writer", move || lock.write(1));
    })
}

fn main() {
    println!(
        "no second look:\n{}\n",
        program(&Config::default(), Without::SecondLook)
    );
    println!(
        "no odd number:\n{}\n",
        program(&Config::default(), Without::OddNumber)
    );
    println!("both:\n{}", program(&Config::default(), Without::Nothing));
}

#[cfg(test)]
mod tests {
    use pagefold_explore::{Config, Search, Verdict, kind};

    use super::{Without, program};

    #[test]
    fn the_bugs_are_found() {
        for without in [Without::SecondLook, Without::OddNumber] {
            let Verdict::Broken(violation) = program(&Config::default(), without).verdict else {
                panic!("not found")
            };
            assert_eq!(violation.kind, kind::PANIC);
            assert!(violation.message.contains("a mixture"), "{violation}");
        }
    }

    #[test]
    fn both_halves_hold() {
        let report = program(&Config::default(), Without::Nothing);
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    }

    #[test]
    fn a_hundred_samples_find_it() {
        for seed in 0..10 {
            let search = Search::Pos { seed };
            let config = Config::default().search(search).max_executions(100);
            for without in [Without::SecondLook, Without::OddNumber] {
                let report = program(&config, without);
                assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
            }
        }
    }
}
