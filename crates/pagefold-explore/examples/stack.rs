//! A lock-free stack (Treiber's), and what becomes of a node that was popped.
//!
//! Popping reads the `next` of a node that another thread may be popping. If that one frees the
//! node at once, this is a use after free. Freeing after a grace period, with popping inside a read
//! section, is one of the cures.
//!
//! `cargo run --example stack`

use pagefold_explore::sync::Arc;
use pagefold_explore::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use pagefold_explore::{Config, Report, explore, fail, hint, label, rcu, thread, write_range};

/// How popped nodes are freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Free {
    /// The planted bug.
    AtOnce,
    AfterGracePeriod,
}

const NIL: usize = usize::MAX;

struct Node {
    next: AtomicUsize,
    freed: AtomicBool,
}

struct Stack {
    head: AtomicUsize,
    nodes: [Node; 2],
    free: Free,
}

impl Stack {
    /// A stack with all nodes on it.
    fn new(free: Free) -> Self {
        let nodes = [NIL, 0].map(|next| Node {
            next: AtomicUsize::new(next),
            freed: AtomicBool::new(false),
        });
        Self {
            head: AtomicUsize::new(1),
            nodes,
            free,
        }
    }

    fn pop(self: &Arc<Self>) -> Option<usize> {
        let _section = rcu::read();
        loop {
            label(|| "read the head".to_owned());
            let head = self.head.load(Ordering::Acquire);
            if head == NIL {
                return None;
            }
            label(|| format!("read the successor of node {head}"));
            let next = self.nodes[head].next.load(Ordering::Relaxed);
            // The oracle: not a part of the algorithm, and invisible to the other threads.
            if self.nodes[head].freed.load_quiet() {
                fail(
                    "use after free",
                    format!("node {head} is freed, and was read"),
                );
            }
            label(|| {
                format!(
                    "make node {} the head, if it is still {head}",
                    next as isize
                )
            });
            if self
                .head
                .compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                self.retire(head);
                return Some(head);
            }
            hint::relax();
        }
    }

    fn retire(self: &Arc<Self>, node: usize) {
        let stack = Arc::clone(self);
        let free = move || {
            let node = &stack.nodes[node];
            label(|| "free it".to_owned());
            write_range(std::ptr::from_ref(node).cast(), size_of::<Node>());
            node.freed.store_quiet(true);
        };
        match self.free {
            Free::AtOnce => free(),
            Free::AfterGracePeriod => {
                rcu::call(free);
            }
        }
    }
}

/// Two threads pop.
fn program(config: &Config, free: Free) -> Report {
    explore(config, || {
        let stack = Arc::new(Stack::new(free));
        let threads = ["left", "right"].map(|name| {
            let stack = Arc::clone(&stack);
            thread::spawn_named(name, move || stack.pop())
        });
        let popped = threads.map(|thread| thread.join().unwrap());
        assert!(
            popped == [Some(1), Some(0)] || popped == [Some(0), Some(1)],
            "{popped:?}"
        );
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
