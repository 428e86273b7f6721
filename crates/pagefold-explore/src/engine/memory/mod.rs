//! Memory models: what a load may see besides the newest value.
//!
//! Under [sequential consistency](crate::Memory::Sc) the value of an object is the word in it, and
//! nothing here runs. The other models change three things, each in a module of its own:
//!
//! | module | idea |
//! |---|---|
//! | [`shadow`] | where values live that reach memory after the store was executed |
//! | [`tso`] | store buffers: a store is an event of its thread, reaching memory one of the buffer |
//! | [`view`] | histories of objects, and which part of them is known to whom |
//! | [`ra`] | release and acquire: which write a load takes is a variant of its event |

pub(crate) mod ra;
pub(crate) mod shadow;
pub(crate) mod tso;
mod view;

use self::ra::Ra;
use self::tso::Tso;
use super::Engine;
use super::object::Object;
use super::op::{Access, Kind, Op};
use super::race::Tie;
use crate::config::Memory;

/// The state of the memory model in the current execution.
#[derive(Debug)]
pub(crate) enum Model {
    Sc,
    Tso(Tso),
    Ra(Box<Ra>),
}

impl Model {
    pub(crate) fn new(memory: Memory) -> Self {
        match memory {
            Memory::Sc => Self::Sc,
            Memory::Tso => Self::Tso(Tso::new()),
            Memory::Ra => Self::Ra(Box::default()),
        }
    }

    /// Whether a load may see something else than the newest value.
    #[inline]
    pub(crate) fn is_weak(&self) -> bool {
        !matches!(self, Self::Sc)
    }

    pub(crate) fn restart(&mut self) {
        match self {
            Self::Sc => {}
            Self::Tso(tso) => tso.restart(),
            Self::Ra(ra) => ra.restart(),
        }
    }

    /// The buffers, if the model has any.
    #[inline]
    pub(crate) fn tso(&self) -> Option<&Tso> {
        match self {
            Self::Sc | Self::Ra(_) => None,
            Self::Tso(tso) => Some(tso),
        }
    }

    /// The views, if the model has any.
    #[inline]
    pub(crate) fn ra(&self) -> Option<&Ra> {
        match self {
            Self::Sc | Self::Tso(_) => None,
            Self::Ra(ra) => Some(ra),
        }
    }
}

impl Engine {
    /// The current thread announces an operation.
    pub(crate) fn announce_weak(&mut self) {
        match self.memory {
            Model::Sc => {}
            Model::Tso(_) => self.make_buffered(),
            Model::Ra(_) => self.put_in_order(),
        }
    }

    /// The pending operation of `thread` is about to be executed as event `index`.
    pub(crate) fn begin_weak(&mut self, thread: usize, index: usize) {
        if self.memory.ra().is_some() {
            self.prepare(thread, index);
        }
    }

    /// The pending operation of `thread` was executed as event `index`.
    pub(crate) fn end_weak(&mut self, thread: usize, index: usize) {
        if self.memory.ra().is_some() {
            self.hand_over(thread, index);
        }
    }

    /// Whether the memory model lets the pending operation of `thread` be executed. `None`: it has no
    /// say in that.
    pub(crate) fn is_enabled_weak(&self, thread: usize) -> Option<bool> {
        let op = &self.slots[thread].op;
        match (&self.memory, op.kind) {
            (Model::Tso(_), _) if self.waits_for_buffer(thread) => Some(false),
            (Model::Tso(_), Kind::Await) => {
                let buffered = self.forwarded(thread, op.object)?;
                Some(Self::holds(op, buffered))
            }
            (Model::Ra(_), Kind::Await) => Some(self.can_see(thread, op)),
            (Model::Ra(_), Kind::Relax) => Some(self.can_retry(thread)),
            _ => None,
        }
    }

    /// How the pending operation `op` of `thread` touches its object, if the memory model has a say
    /// in that.
    pub(crate) fn access_of_weak(&self, thread: usize, op: &Op) -> Option<Access> {
        match (&self.memory, op.kind) {
            // The value is in the own buffer.
            (Model::Tso(_), Kind::Load | Kind::Await) => {
                self.forwarded(thread, op.object).map(|_| Access::None)
            }
            (Model::Ra(_), Kind::CompareExchange) => Some(self.access_of_exchange()),
            (Model::Ra(_), Kind::TryGet) => ra::access_of_try_get(op),
            _ => None,
        }
    }

    /// Finds the earlier events tied to `op`. Returns whether they are sorted, the newest first.
    pub(crate) fn collect_ties(
        &self,
        thread: usize,
        op: &Op,
        access: Access,
        ties: &mut Vec<(usize, Tie)>,
    ) -> bool {
        match self.memory {
            Model::Sc => self.collect_ties_in_memory(thread, op, access, ties),
            Model::Tso(_) => {
                self.collect_ties_buffered(thread, op, access, ties);
                false
            }
            Model::Ra(_) => self.collect_ties_in_memory(thread, op, access, ties),
        }
    }

    /// What the operation that the current thread executes reads from `object`. `None`: what is
    /// in memory.
    pub(crate) fn weak_get(&mut self, object: &Object) -> Option<u64> {
        match self.memory {
            Model::Sc => None,
            Model::Tso(_) => self.forwarded(self.current, object.id()),
            Model::Ra(_) => self.chosen_word(),
        }
    }

    /// The operation that the current thread executes writes to `object`. Whether it goes to
    /// memory at once.
    pub(crate) fn weak_set(&mut self, object: &Object, word: u64) -> bool {
        match self.memory {
            Model::Tso(_) if self.slots[self.current].op.kind.is_buffered() => {
                self.buffer(object, word);
                false
            }
            Model::Sc | Model::Tso(_) => true,
            Model::Ra(_) => self.write_chosen(word),
        }
    }
}
