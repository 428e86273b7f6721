//! A queue with room for one: producers wait for room, consumers for an item.
//!
//! With one condition variable for both, `notify_one` may wake somebody for whom nothing has changed: a consumer that takes an item wakes
//! another consumer, which finds nothing and waits again, and the producer that could go on now is never told. Two condition
//! variables, one for each thing to wait for, cure it.
//!
//! `cargo run --example bounded_queue`

use std::collections::VecDeque;

use pagefold_explore::sync::{Arc, Condvar, Mutex};
use pagefold_explore::{Config, Report, explore, thread};

const ROOM: usize = 1;

#[derive(Default)]
struct Queue {
    items: Mutex<VecDeque<u32>>,
    not_empty: Condvar,
    not_full: Condvar,
    /// The planted bug: all wait for the first condition variable.
    shared: bool,
}

impl Queue {
    fn not_full(&self) -> &Condvar {
        if self.shared {
            &self.not_empty
        } else {
            &self.not_full
        }
    }

    fn put(&self, item: u32) {
        let items = self.items.lock().unwrap();
        let mut items = self
            .not_full()
            .wait_while(items, |items| items.len() == ROOM)
            .unwrap();
        items.push_back(item);
        drop(items);
        self.not_empty.notify_one();
    }

    fn take(&self) -> u32 {
        let items = self.items.lock().unwrap();
        let mut items = self
            .not_empty
            .wait_while(items, |items| items.is_empty())
            .unwrap();
        let item = items.pop_front().expect("it is not empty");
        drop(items);
        self.not_full().notify_one();
        item
    }
}

/// Where threads contend for a lock, there are few states to remember and many ways to them.
fn exhaustive() -> Config {
    Config::default().cache(true)
}

/// Two consumers, and the main thread and another one that produce.
fn program(config: &Config, shared: bool) -> Report {
    explore(config, || {
        let queue = Arc::new(Queue {
            shared,
            ..Queue::default()
        });
        let consumers = ["left", "right"].map(|name| {
            let queue = Arc::clone(&queue);
            thread::spawn_named(name, move || queue.take())
        });
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn_named("producer", move || queue.put(1))
        };
        queue.put(2);
        producer.join().unwrap();
        let taken = consumers.map(|consumer| consumer.join().unwrap());
        assert_eq!(taken.iter().sum::<u32>(), 3, "each item is taken once");
    })
}

fn main() {
    println!(
        "one condition variable:\n{}\n",
        program(&exhaustive(), true)
    );
    println!(
        "two condition variables:\n{}",
        program(&exhaustive(), false)
    );
}

#[cfg(test)]
mod tests {
    use pagefold_explore::{Config, Search, Verdict, kind};

    use super::{exhaustive, program};

    #[test]
    fn the_bug_is_found() {
        let Verdict::Broken(violation) = program(&exhaustive(), true).verdict else {
            panic!("not found")
        };
        assert_eq!(violation.kind, kind::DEADLOCK, "{violation}");
        assert!(violation.message.contains("condvar#"), "{violation}");
    }

    #[test]
    fn two_condition_variables_hold() {
        let report = program(&exhaustive(), false);
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    }

    #[test]
    fn a_hundred_samples_find_it() {
        for seed in 0..10 {
            let search = Search::Pos { seed };
            let config = Config::default().search(search).max_executions(100);
            let report = program(&config, true);
            assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        }
    }
}
