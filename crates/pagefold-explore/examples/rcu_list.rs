//! A list that is read without locks while somebody removes from it.
//!
//! The remover unlinks a node, so that nobody finds it any more; but a reader may have found it before and look at it still. Only
//! after a grace period, when all readers that were under way have left, can it be freed.
//!
//! `cargo run --example rcu_list`

use pagefold_explore::sync::Arc;
use pagefold_explore::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use pagefold_explore::{Config, Report, explore, fail, label, rcu, thread, write_range};

/// When a removed node is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Free {
    /// The planted bug.
    AtOnce,
    AfterGracePeriod,
}

const END: usize = usize::MAX;

struct Node {
    value: u32,
    next: AtomicUsize,
    freed: AtomicBool,
}

/// The nodes are in an array, and found by their indices.
struct List {
    first: AtomicUsize,
    nodes: [Node; 3],
}

impl List {
    /// The list 1, 2, 3.
    fn new() -> Self {
        let node = |value, next| Node {
            value,
            next: AtomicUsize::new(next),
            freed: AtomicBool::new(false),
        };
        Self {
            first: AtomicUsize::new(0),
            nodes: [node(1, 1), node(2, 2), node(3, END)],
        }
    }

    /// Adds up the values.
    fn sum(&self) -> u32 {
        let _section = rcu::read();
        let mut sum = 0;
        let mut at = self.first.load(Ordering::Acquire);
        while at != END {
            let node = &self.nodes[at];
            label(|| format!("go on from node {at}"));
            let next = node.next.load(Ordering::Acquire);
            // The oracle: not a part of the algorithm, and invisible to the other threads.
            if node.freed.load_quiet() {
                fail(
                    "use after free",
                    format!("node {at} is freed, and was read"),
                );
            }
            sum += node.value;
            at = next;
        }
        sum
    }

    /// Removes the node in the middle.
    fn remove(self: &Arc<Self>, free: Free) {
        let [before, node, _] = &self.nodes;
        label(|| "unlink node 1".to_owned());
        before
            .next
            .store(node.next.load(Ordering::Relaxed), Ordering::Release);
        if free == Free::AfterGracePeriod {
            rcu::synchronize();
        }
        label(|| "free node 1".to_owned());
        write_range(std::ptr::from_ref(node).cast(), size_of::<Node>());
        node.freed.store_quiet(true);
    }
}

/// Two readers and a remover.
fn program(config: &Config, free: Free) -> Report {
    explore(config, || {
        let list = Arc::new(List::new());
        let readers = ["left", "right"].map(|name| {
            let list = Arc::clone(&list);
            thread::spawn_named(name, move || list.sum())
        });
        let remover = {
            let list = Arc::clone(&list);
            thread::spawn_named("remover", move || list.remove(free))
        };
        for reader in readers {
            let sum = reader.join().unwrap();
            assert!(sum == 6 || sum == 4, "{sum}");
        }
        remover.join().unwrap();
        assert_eq!(list.sum(), 4);
    })
}

fn main() {
    println!(
        "freed at once:\n{}\n",
        program(&Config::default(), Free::AtOnce)
    );
    println!(
        "freed after a grace period:\n{}",
        program(&Config::default(), Free::AfterGracePeriod)
    );
}

#[cfg(test)]
mod tests {
    use pagefold_explore::{Config, Search, Verdict};

    use super::{Free, program};

    #[test]
    fn the_bug_is_found() {
        let Verdict::Broken(violation) = program(&Config::default(), Free::AtOnce).verdict else {
            panic!("not found")
        };
        assert_eq!(violation.kind, "use after free");
        assert_eq!(violation.preemptions, 1, "{violation}");
    }

    #[test]
    fn a_grace_period_cures_it() {
        let report = program(&Config::default(), Free::AfterGracePeriod);
        assert!(matches!(report.verdict, Verdict::Holds), "{report}");
    }

    #[test]
    fn a_hundred_samples_find_it() {
        for seed in 0..10 {
            let search = Search::Pos { seed };
            let config = Config::default().search(search).max_executions(100);
            let report = program(&config, Free::AtOnce);
            assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        }
    }
}
