//! The tree of schedules, as far as it has to be remembered: the current path with the choices at
//! each of its nodes.
//!
//! **Variants.** Under a [memory model](super::memory) that lets loads see old values, the choice of
//! a thread stands for several events, its variants. They are explored one after the other, before
//! the next choice; where choices are compared or put to sleep, all of them are meant.
//!
//! **Order.** The choices of a node are tried in the order in which they were found. So the sleep
//! set of a choice is known as soon as the choice is: what slept at the node before, and all choices
//! found earlier.
//!
//! **Subtrees.** Because of that, the part of the tree below a choice can be explored by anyone, at
//! any time, and comes out the same: what it takes is the path to the choice and the sleep set (a
//! [`Subtree`]). What comes back, besides counts and violations, is which reversals it *wants* at
//! nodes above it. Whoever owns these nodes applies them when its own search has got to the choice,
//! which is the point at which it would have found them itself. So it makes no difference to the
//! result which subtrees were given away; see `team.rs`.

use super::threads::{ThreadNumber, ThreadSet, bit, members};
use crate::config::MAX_THREADS;
use crate::subtree::{Subtree, Wanted};

/// A thread, and the variant of its event.
pub(crate) type Choice = (ThreadNumber, u16);

/// A node: a state on the current path, with the choices there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Threads that can run. Unknown (empty) above the root of a subtree.
    pub(crate) enabled: ThreadSet,
    /// Choices tried or to try.
    listed: ThreadSet,
    /// Threads whose next step is explored elsewhere.
    pub(crate) sleep: ThreadSet,
    /// The current choice.
    pub(crate) choice: ThreadNumber,
    /// Which of the ways in which the event of the choice can take place, and how many there are: more
    /// than one only under a memory model that lets loads see old values. They are tried one
    /// after the other, before the next choice.
    pub(crate) variant: u16,
    variants: u16,
    /// How many choices are listed.
    len: u8,
    /// Which of them to look at next.
    next: u8,
}

impl Node {
    /// Goes to the next variant, if there is one.
    fn next_variant(&mut self) -> bool {
        let left = self.variant + 1 < self.variants;
        self.variant += u16::from(left);
        left
    }
}

/// A choice whose subtree somebody else explores.
#[derive(Clone, Copy, Debug)]
struct Given {
    depth: usize,
    choice: ThreadNumber,
    ticket: u64,
}

/// What going back found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// A choice to try.
    Choice,
    /// A choice that was given away under this ticket. Going on as if it were to be tried explores
    /// it here.
    Given(u64),
    /// The tree is done.
    Done,
}

/// A path through the tree.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The choices listed at each node of the path, and junk behind.
    choices: Vec<[ThreadNumber; MAX_THREADS]>,
    /// How many nodes lie above the root of this subtree. Their choices are fixed.
    base: usize,
    /// The races of so many events, from the start of the path, have been dealt with.
    settled: usize,
    /// What was found out for the nodes above the root, each thing once.
    wanted: Vec<Wanted>,
    given: Vec<Given>,
    /// Events executed for the first time.
    pub(crate) states: u64,
}

/// A subtree that is given away goes at least so far below the choice on the current path. What is
/// smaller is not worth the trouble.
const WORTH_GIVING: usize = 8;

impl Tree {
    /// Nothing but the path to the root of `subtree`.
    pub(crate) fn of(subtree: &Subtree) -> Self {
        let mut tree = Self::default();
        for (depth, &(choice, variant)) in subtree.path.iter().enumerate() {
            tree.push(0, 0, usize::from(choice), 0);
            tree.nodes[depth].variant = variant;
        }
        if let Some(last) = tree.nodes.last_mut() {
            last.sleep = subtree.sleep;
        }
        tree.base = subtree.path.len();
        tree.settled = tree.base.saturating_sub(1);
        tree
    }

    /// Says how many variants the event at a node has, and which is picked if that is not to be
    /// the search's choice. Returns which it is.
    pub(crate) fn set_variants(&mut self, depth: usize, variants: u16, picked: Option<u16>) -> u16 {
        let node = &mut self.nodes[depth];
        node.variants = variants;
        node.variant = picked.unwrap_or(node.variant).min(variants - 1);
        node.variant
    }

    #[inline]
    pub(crate) fn node(&self, depth: usize) -> Option<&Node> {
        self.nodes.get(depth)
    }

    #[inline]
    pub(crate) fn last(&self) -> Option<&Node> {
        self.nodes.last()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The threads that are tried at a node, or were elsewhere.
    pub(crate) fn explored_at(&self, depth: usize) -> ThreadSet {
        let node = self.nodes.get(depth);
        node.map_or(0, |node| node.listed | node.sleep)
    }

    /// Whether the races of event `index` have been dealt with.
    #[inline]
    pub(crate) fn is_settled(&self, index: usize) -> bool {
        index < self.settled
    }

    /// Adds a node to the path, with a choice that is taken, and others to be tried.
    #[inline]
    pub(crate) fn push(
        &mut self,
        enabled: ThreadSet,
        sleep: ThreadSet,
        choice: usize,
        others: ThreadSet,
    ) {
        let depth = self.nodes.len();
        if depth == self.choices.len() {
            self.choices.push([0; MAX_THREADS]);
        }
        let number = super::race::as_number(choice);
        self.choices[depth][0] = number;
        self.nodes.push(Node {
            enabled,
            listed: bit(choice),
            sleep,
            choice: number,
            variant: 0,
            variants: 1,
            len: 1,
            next: 1,
        });
        for other in members(others) {
            self.list(depth, other);
        }
    }

    /// Adds a choice to those of a node.
    #[inline]
    fn list(&mut self, depth: usize, thread: usize) {
        let node = &mut self.nodes[depth];
        if node.listed & bit(thread) == 0 {
            node.listed |= bit(thread);
            self.choices[depth][usize::from(node.len)] = super::race::as_number(thread);
            node.len += 1;
        }
    }

    /// Has a reversal tried at a node: one of the threads in `initials` must be among its choices. If
    /// there is none yet, `racing` is added if it is an initial, or otherwise the one that
    /// `prefer` picks. Returns the choices that were added.
    pub(crate) fn want(
        &mut self,
        wanted: Wanted,
        prefer: impl Fn(ThreadSet) -> Option<usize>,
    ) -> ThreadSet {
        if wanted.depth < self.base {
            if !self.wanted.contains(&wanted) {
                self.wanted.push(wanted);
            }
            return 0;
        }
        let node = self.nodes[wanted.depth];
        if wanted.initials & (node.listed | node.sleep) != 0 {
            return 0;
        }
        let possible = wanted.initials & node.enabled;
        let racing = wanted.racing.map(usize::from);
        let added = match racing.filter(|&thread| possible & bit(thread) != 0) {
            Some(racing) => bit(racing),
            // If nothing is known, all of them.
            None => prefer(possible).map_or(node.enabled & !node.listed, bit),
        };
        for thread in members(added) {
            self.list(wanted.depth, thread);
        }
        added
    }

    /// Goes back to the deepest node with a choice left and takes it. `pop` is called for each node
    /// that is done.
    pub(crate) fn backtrack(&mut self, mut pop: impl FnMut()) -> Back {
        while self.nodes.len() > self.base {
            let depth = self.nodes.len() - 1;
            self.settled = self.settled.min(depth);
            let node = &mut self.nodes[depth];
            if node.next_variant() {
                return Back::Choice;
            }
            node.sleep |= bit(usize::from(node.choice));
            while node.next < node.len {
                let choice = self.choices[depth][usize::from(node.next)];
                node.next += 1;
                if node.sleep & bit(usize::from(choice)) != 0 {
                    continue;
                }
                node.choice = choice;
                (node.variant, node.variants) = (0, 1);
                let given = self
                    .given
                    .iter()
                    .position(|given| given.depth == depth && given.choice == choice);
                return match given {
                    Some(given) => Back::Given(self.given.swap_remove(given).ticket),
                    None => Back::Choice,
                };
            }
            self.nodes.pop();
            pop();
        }
        // The choice at the root of a subtree comes with all its variants.
        if let Some(root) = self.nodes.last_mut()
            && root.next_variant()
        {
            self.settled = self.settled.min(self.base - 1);
            return Back::Choice;
        }
        Back::Done
    }

    /// Gives away the subtree of a choice that is not begun yet, the one nearest to the root.
    pub(crate) fn give_away(&mut self, ticket: u64) -> Option<Subtree> {
        for depth in self.base..self.nodes.len().saturating_sub(WORTH_GIVING) {
            let node = self.nodes[depth];
            let mut sleep = node.sleep | bit(usize::from(node.choice));
            for &choice in &self.choices[depth][usize::from(node.next)..usize::from(node.len)] {
                if sleep & bit(usize::from(choice)) != 0 {
                    continue;
                }
                let is_given = |given: &Given| given.depth == depth && given.choice == choice;
                if self.given.iter().any(is_given) {
                    sleep |= bit(usize::from(choice));
                    continue;
                }
                let path = self.nodes[..depth].iter();
                let path = path.map(|node| (node.choice, node.variant));
                self.given.push(Given {
                    depth,
                    choice,
                    ticket,
                });
                return Some(Subtree {
                    path: path.chain([(choice, 0)]).collect(),
                    sleep,
                });
            }
        }
        None
    }

    /// What was found out for the nodes above the root.
    pub(crate) fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    /// The log of the path was lost and is going to be made again; only the last choice is new.
    pub(crate) fn forget_log(&mut self) {
        self.settled = self.nodes.len().saturating_sub(1);
    }

    /// How much of the tree is done, if all nodes still to come were like those seen, from 0 to 1.
    pub(crate) fn done(&self) -> f64 {
        let mut done = 0.0;
        let mut share = 1.0;
        for (depth, node) in self.nodes.iter().enumerate().skip(self.base) {
            let sleeping = |choice: &&u8| node.sleep & bit(usize::from(**choice)) != 0;
            let listed = &self.choices[depth][..usize::from(node.len)];
            let before = listed[..usize::from(node.next) - 1].len();
            let left = listed[usize::from(node.next)..]
                .iter()
                .filter(|choice| !sleeping(choice))
                .count();
            let all = (before + 1 + left) as f64;
            let variants = f64::from(node.variants);
            done += share * (before as f64 + f64::from(node.variant) / variants) / all;
            share /= all * variants;
        }
        done
    }
}
