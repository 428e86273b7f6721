//! What a thread may not do with locks, whether or not it leads to a deadlock this time.
//!
//! All checks are made when the operation is announced, as a forbidden one may never be executed.

use super::object::Shape;
use super::op::Kind;
use super::{Engine, since, state};
use crate::class::{LockClass, LockKind};
use crate::report::kind;

/// In which order locks without ranks were taken in this execution.
///
/// The set of "taken while holding" pairs of an execution is the same for all equivalent
/// interleavings, so a cycle is found in any of them.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Held class, class taken while holding it.
    pairs: Vec<(&'static LockClass, &'static LockClass)>,
}

impl Order {
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Has what was noted at `earlier`.
    pub(crate) fn go_back_to(&mut self, earlier: &Self) {
        self.pairs.clone_from(&earlier.pairs);
    }

    /// Notes that `taken` was taken while holding `held`. `false` if that contradicts an order
    /// seen before.
    fn note(&mut self, held: &'static LockClass, taken: &'static LockClass) -> bool {
        if self.pairs.contains(&(held, taken)) {
            return true;
        }
        if self.reaches(taken, held) {
            return false;
        }
        self.pairs.push((held, taken));
        true
    }

    /// All that was noted.
    pub(crate) fn pairs(
        &self,
    ) -> impl Iterator<Item = (&'static LockClass, &'static LockClass)> + '_ {
        self.pairs.iter().copied()
    }

    fn reaches(&self, from: &'static LockClass, to: &'static LockClass) -> bool {
        // The pairs have no cycle, so this ends.
        from == to
            || self
                .pairs
                .iter()
                .any(|&(held, taken)| held == from && self.reaches(taken, to))
    }
}

impl Engine {
    /// Whether the pending operation of the current thread is forbidden. If so, the execution is
    /// broken off.
    #[inline]
    pub(crate) fn is_forbidden(&mut self) -> bool {
        let slot = &self.slots[self.current];
        match slot.op.kind {
            Kind::AcquireExclusive
            | Kind::AcquireShared
            | Kind::Join
            | Kind::Await
            | Kind::Claim
            | Kind::GracePeriod => {
                if slot.held.is_empty() && slot.reading.depth == 0 {
                    return false;
                }
                self.is_forbidden_here()
            }
            _ => false,
        }
    }

    fn is_forbidden_here(&mut self) -> bool {
        let slot = &self.slots[self.current];
        let me = super::race::as_number(self.current);
        let op = slot.op;
        let class = match self.objects.entry(op.object).shape {
            Shape::Lock(class) if op.kind != Kind::Await => Some(class),
            _ => None,
        };
        let acquires = matches!(op.kind, Kind::AcquireExclusive | Kind::AcquireShared);
        let released = self.forwarded(self.current, op.object).is_some();
        if acquires && !released && state::owner(op.word()) == Some(me) {
            let held = slot.held.iter().find(|held| held.object == op.object);
            let step = held.map_or(0, |held| held.step);
            let message = format!(
                "{} takes {}, which it holds already, {}",
                slot.name,
                self.name_of(op.object),
                since(step)
            );
            self.break_off(kind::RECURSIVE_LOCK.into(), message);
            return true;
        }
        // A thread that waits for interrupts to be handled spins.
        let spins = op.kind == Kind::Join && op.length != 0;
        let sleeps =
            !acquires && !spins || class.is_some_and(|class| class.kind == LockKind::Sleep);
        if sleeps && let Some(why) = self.why_atomic() {
            let what = match op.kind {
                Kind::Join => "waits for a thread".to_owned(),
                Kind::GracePeriod => "waits for a grace period".to_owned(),
                Kind::Await | Kind::Claim => format!("waits for {}", self.name_of(op.object)),
                _ => format!("takes {}, which may sleep,", self.name_of(op.object)),
            };
            let message = format!("{} {what} {why}", self.slots[self.current].name);
            self.break_off(kind::SLEEP_IN_ATOMIC.into(), message);
            return true;
        }
        match class {
            // 2: exempt from the order, as the caller knows better.
            Some(class) if acquires && op.argument != 2 => {
                self.is_out_of_order(class, op.argument != 0)
            }
            _ => false,
        }
    }

    /// Why the current thread must not sleep.
    fn why_atomic(&self) -> Option<String> {
        let slot = &self.slots[self.current];
        if slot.reading.depth > 0 {
            return Some("inside an RCU read section".to_owned());
        }
        slot.held.iter().find_map(|held| match held.class {
            Some(class) if class.kind == LockKind::Sleep => None,
            Some(_) => Some(format!("while holding {}", self.name_of(held.object))),
            None => Some("with interrupts disabled".to_owned()),
        })
    }

    fn is_out_of_order(&mut self, class: &'static LockClass, nested: bool) -> bool {
        let slot = &self.slots[self.current];
        let object = slot.op.object;
        let mut wrong = None;
        for held in &slot.held {
            let Some(held_class) = held.class else {
                continue;
            };
            let fits = match (held_class.rank, class.rank) {
                (Some(held_rank), Some(rank)) => rank > held_rank || (rank == held_rank && nested),
                _ if held_class == class => nested,
                _ => self.order.note(held_class, class),
            };
            if !fits {
                wrong = Some((held_class, *held));
                break;
            }
        }
        let Some((held_class, held)) = wrong else {
            return false;
        };
        let why = match (held_class.rank, class.rank) {
            (Some(held_rank), Some(rank)) => format!("rank {rank} under rank {held_rank}"),
            _ if held_class == class => "two of one class, not marked as nested".to_owned(),
            _ => "elsewhere in this execution they are taken the other way round".to_owned(),
        };
        let message = format!(
            "{} takes {} while holding {}, {}: {why}",
            self.slots[self.current].name,
            self.name_of(object),
            self.name_of(held.object),
            since(held.step),
        );
        self.break_off(kind::LOCK_ORDER.into(), message);
        true
    }
}
