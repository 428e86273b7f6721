//! Several workers on one tree of schedules.
//!
//! A worker without work says so; whoever has some gives away the subtree of a choice near the root
//! of its own ([`Tree::give_away`](crate::engine::tree::Tree::give_away)). When a worker gets to a
//! choice that it gave away, it takes the [`Outcome`] in place of exploring it. If nobody has begun
//! it, it explores it itself. If it is under way, it works on something else meanwhile.
//!
//! **The result does not depend on who did what.** A subtree is the same whoever explores it, and
//! outcomes are taken in the order of the choices, as if there were one worker. (`engine/tree.rs`;
//! for limits see [`crate::explorer`].)
//!
//! **Nobody waits for ever.** A subtree is waited for by the one who gave it away, and put off, on the
//! stack of a worker, by those that the worker began later. Either way it takes subtrees begun later
//! to end it, so there is no circle.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::subtree::{Outcome, Subtree};

/// What the workers of one exploration share.
#[derive(Debug, Default)]
pub(crate) struct Team {
    board: Mutex<Board>,
    changed: Condvar,
    /// Workers that wait for a subtree, less those that wait for a worker.
    hungry: AtomicI64,
    tickets: AtomicU64,
    over: AtomicBool,
}

#[derive(Debug, Default)]
struct Board {
    /// Subtrees that nobody has begun, by ticket.
    open: BTreeMap<u64, Subtree>,
    /// Those that are done.
    done: HashMap<u64, Outcome>,
}

/// What there is to do for somebody who waits for a ticket.
pub(crate) enum Meanwhile {
    /// It is done.
    Outcome(Box<Outcome>),
    /// Nobody has begun it, and now nobody else will.
    Yours,
    /// Another subtree, to be [handed in](Team::hand_in) under this ticket.
    Other(u64, Subtree),
    /// The exploration is over.
    Over,
}

impl Team {
    /// Whether somebody waits for work.
    #[inline]
    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry.load(Relaxed) > 0
    }

    /// Whether the exploration is over, whatever is left to do.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// A number for a subtree.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Relaxed)
    }

    /// Offers a subtree to whoever is free.
    pub(crate) fn offer(&self, ticket: u64, subtree: Subtree) {
        self.board().open.insert(ticket, subtree);
        self.hungry.fetch_sub(1, Relaxed);
        self.changed.notify_one();
    }

    /// Says what came of a subtree.
    pub(crate) fn hand_in(&self, ticket: u64, outcome: Outcome) {
        self.board().done.insert(ticket, outcome);
        self.changed.notify_all();
    }

    /// Ends the exploration.
    pub(crate) fn end(&self) {
        // Under the lock, so that nobody misses it between looking and waiting.
        let _board = self.board();
        self.over.store(true, Relaxed);
        self.changed.notify_all();
    }

    /// A subtree to explore. `None` when the exploration is over.
    pub(crate) fn next(&self) -> Option<(u64, Subtree)> {
        match self.wait_for(None, true) {
            Meanwhile::Other(ticket, subtree) => Some((ticket, subtree)),
            Meanwhile::Outcome(_) | Meanwhile::Yours | Meanwhile::Over => None,
        }
    }

    /// What to do for somebody who needs the outcome of `ticket`, if that is given, and would
    /// work on another subtree in the meantime if `willing`.
    pub(crate) fn wait_for(&self, ticket: Option<u64>, willing: bool) -> Meanwhile {
        let mut board = self.board();
        let mut waiting = false;
        let found = loop {
            if self.is_over() {
                break Meanwhile::Over;
            }
            if let Some(ticket) = ticket {
                if let Some(outcome) = board.done.remove(&ticket) {
                    break Meanwhile::Outcome(Box::new(outcome));
                }
                if board.open.remove(&ticket).is_some() {
                    self.hungry.fetch_add(1, Relaxed);
                    break Meanwhile::Yours;
                }
            }
            if willing && let Some((ticket, subtree)) = board.open.pop_first() {
                self.hungry.fetch_add(1, Relaxed);
                break Meanwhile::Other(ticket, subtree);
            }
            if willing && !waiting {
                waiting = true;
                self.hungry.fetch_add(1, Relaxed);
            }
            board = self
                .changed
                .wait(board)
                .unwrap_or_else(PoisonError::into_inner);
        };
        if waiting {
            self.hungry.fetch_sub(1, Relaxed);
        }
        found
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the exploration for all when this worker ends, be it by a panic.
pub(crate) struct EndsWithThis<'a>(pub(crate) &'a Team);

impl Drop for EndsWithThis<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
