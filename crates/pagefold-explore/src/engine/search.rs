//! The tree of schedules: which thread goes next, and which choices are left to try.
//!
//! **Source sets** (Abdulla, Aronis, Jonsson, Sagonas, POPL 2014). Each node starts with one choice.
//! When an event `e'` of thread `p` turns out to race with an earlier event `e`, let `v` be the
//! events after `e` which do not happen after `e`, followed by `e'`. Running `v` from the node
//! before `e` is possible and reverses the race. Every execution that starts with (something
//! equivalent to) `v` is reached through any thread that is an *initial* of `v`: one whose first
//! event in `v` has no predecessor in `v`. So if one of them is among the choices of that node
//! already, or was explored before (it sleeps), nothing is to do; otherwise one is added. If
//! none of them is enabled there, all enabled threads are added: never wrong, and rarely needed.
//!
//! **Sleep sets** (Godefroid). After the subtree of choice `t` is done, `t` sleeps in its
//! siblings, until an event that depends on what `t` would do next: before that, running `t` would
//! only repeat, in another order, what was explored under `t`. A node at which all enabled threads
//! sleep is abandoned.
//!
//! With both, no two complete executions are equivalent.

use super::Engine;
use super::log::as_u32;
use super::op::{Access, Kind};
use super::threads::{ThreadSet, bit, first, last, members};
use crate::config::{MAX_THREADS, Search};

/// A node: a state on the current path, with the choices there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Threads that can run.
    pub(crate) enabled: ThreadSet,
    /// Choices to try or tried.
    backtrack: ThreadSet,
    /// Threads whose next step is explored elsewhere.
    sleep: ThreadSet,
    /// The current choice.
    pub(crate) choice: u8,
}

/// Why an execution ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Every thread has ended.
    Complete,
    /// All enabled threads sleep.
    Blocked,
    /// The state was explored before.
    Cut,
    /// Something broke.
    Violation,
    /// Too many events.
    Truncated,
    /// Too many threads.
    TooManyThreads,
    /// The given schedule cannot be followed.
    Diverged,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Thread(usize),
    Stop(Stop),
}

impl Engine {
    /// Decides who goes next. `self.current` is who went before.
    #[inline]
    pub(crate) fn schedule(&mut self) -> Next {
        self.next = match self.nodes.get(self.step as usize) {
            Some(node) => self.follow(usize::from(node.choice)),
            None => self.choose(),
        };
        self.next
    }

    /// A choice made in an earlier execution.
    #[inline]
    fn follow(&mut self, choice: usize) -> Next {
        if self.live & bit(choice) == 0 {
            return self.nondeterminism(choice);
        }
        Next::Thread(choice)
    }

    /// A choice at a node that is new.
    fn choose(&mut self) -> Next {
        if self.live == 0 {
            return Next::Stop(Stop::Complete);
        }
        if self.step >= self.max_steps {
            return Next::Stop(Stop::Truncated);
        }
        let mut enabled = 0;
        for thread in members(self.live) {
            if self.is_enabled(thread) {
                enabled |= bit(thread);
            }
        }
        if let Some(stop) = self.check_script(enabled) {
            return Next::Stop(stop);
        }
        if enabled == 0 {
            return self.all_blocked();
        }
        let sleep = self.still_asleep();
        let mut available = enabled & !sleep;
        if self.search == Search::EveryInterleaving {
            // An operation that commutes with everything makes no difference wherever it stands.
            // (Beginning a read section does make a difference, whatever it begins with.)
            let neutral = members(enabled).find(|&thread| {
                self.slots[thread].op.kind.is_neutral() && !self.begins_section(thread)
            });
            available = neutral.map_or(available, bit);
        }
        let sampled = match &mut self.sampler {
            Some(sampler) => Some(sampler.pick(enabled, self.current, self.step)),
            None => None,
        };
        if self.cache.is_some() && available != 0 && self.is_cut(sleep) {
            return Next::Stop(Stop::Cut);
        }
        let preferred = match self.scripted().or(sampled) {
            Some(thread) => thread,
            None if available & bit(self.current) != 0 => self.current,
            None => match self.prefer(available) {
                Some(thread) => thread,
                None => return Next::Stop(Stop::Blocked),
            },
        };
        let backtrack = match self.search {
            Search::EveryInterleaving => available,
            Search::Reduced | Search::RandomWalk { .. } | Search::Pct { .. } => bit(preferred),
        };
        let choice = super::race::as_number(preferred);
        self.nodes.push(Node {
            enabled,
            backtrack,
            sleep,
            choice,
        });
        Next::Thread(preferred)
    }

    /// The thread of a set to take first.
    #[inline]
    fn prefer(&self, set: ThreadSet) -> Option<usize> {
        if self.newest_first {
            last(set)
        } else {
            first(set)
        }
    }

    /// The threads asleep at the new node: those that slept at the node before (among them the
    /// choices explored there) and whose next step is independent of the event in between.
    fn still_asleep(&self) -> ThreadSet {
        if self.search != Search::Reduced {
            return 0;
        }
        let Some(parent) = self.nodes.last() else {
            return 0;
        };
        if parent.sleep == 0 {
            return 0;
        }
        let event = self.nodes.len() - 1;
        members(parent.sleep)
            .filter(|&thread| !self.depends(thread, event))
            .fold(0, |set, thread| set | bit(thread))
    }

    /// Whether the pending operation of `thread` depends on the event just executed.
    ///
    /// The pending operation is judged in the state *after* the event. That is right: where this
    /// differs from the state before (a compare-exchange that would have succeeded, an attempt
    /// at a lock that would have failed), the event changed the object, and it conflicts with
    /// either outcome. (For giving back references, the rule itself covers both orders: see
    /// `access_of_put`, to which the event is one that the thread does not know.)
    fn depends(&self, thread: usize, event: usize) -> bool {
        let op = &self.slots[thread].op;
        let executed = self.log.event(event);
        if executed.kind == Kind::GracePeriod
            && self.begins_section(thread)
            && self.would_delay(thread, event)
        {
            return true;
        }
        match op.kind {
            Kind::GracePeriod => {
                let call = usize::try_from(op.argument).expect("an index of the log");
                self.section_begun_by(event)
                    .is_some_and(|section| !self.starts_after(section, call))
            }
            Kind::WriteRange => {
                let (start, len) = op.range();
                self.objects
                    .within(start, len)
                    .any(|object| self.log.access_on(event, object) != Access::None)
                    || (executed.kind == Kind::WriteRange
                        && self
                            .log
                            .ranges
                            .last()
                            .is_some_and(|range| range.overlaps(start, len)))
            }
            Kind::Relax => self.slots[thread]
                .watched
                .iter()
                .any(|&(object, _)| Access::Read.conflicts(self.log.access_on(event, object))),
            _ if op.object == 0 => false,
            _ => self
                .access_of(thread, op)
                .conflicts(self.log.access_on(event, op.object)),
        }
    }

    /// Has the race between the events `earlier` and `later`, the last one of the log, reversed.
    pub(crate) fn reverse(&mut self, earlier: usize, later: usize) {
        if self.search != Search::Reduced {
            return;
        }
        let initials = self.initials(earlier, later);
        let node = self.nodes[earlier];
        if initials & (node.backtrack | node.sleep) != 0 {
            return;
        }
        let possible = initials & node.enabled;
        let racing = bit(usize::from(self.log.event(later).thread));
        self.nodes[earlier].backtrack |= if possible & racing != 0 {
            racing
        } else if let Some(thread) = self.prefer(possible) {
            bit(thread)
        } else {
            node.enabled
        };
    }

    /// The initials of the events after `earlier` which do not happen after it, followed by `later`
    /// (or by nothing, if that is the end of the log).
    fn initials(&self, earlier: usize, later: usize) -> ThreadSet {
        let mut seen: ThreadSet = 0;
        let mut initials: ThreadSet = 0;
        let mut first_seq = [0; MAX_THREADS];
        for index in earlier + 1..(later + 1).min(self.log.len()) {
            // `later` itself is in `v` although it happens after `earlier`.
            if index != later && self.log.happens_before(earlier, index) {
                continue;
            }
            let event = self.log.event(index);
            let thread = usize::from(event.thread);
            if seen & bit(thread) != 0 {
                continue;
            }
            let row = self.log.clocks.row(index);
            if !members(seen).any(|other| row[other] >= first_seq[other]) {
                initials |= bit(thread);
            }
            seen |= bit(thread);
            first_seq[thread] = event.seq;
        }
        initials
    }

    /// Has the race between the event `earlier` and one that is still to come reversed: it is part
    /// of what was cut off after the end of the log.
    pub(crate) fn reverse_unknown(&mut self, earlier: usize) {
        let initials = self.initials(earlier, self.log.len());
        let node = &mut self.nodes[earlier];
        if initials == 0 {
            node.backtrack |= node.enabled;
            return;
        }
        if initials & (node.backtrack | node.sleep) != 0 {
            return;
        }
        let possible = initials & node.enabled;
        let enabled = node.enabled;
        let added = self.prefer(possible).map_or(enabled, bit);
        self.nodes[earlier].backtrack |= added;
    }

    /// Has the races of operations that are blocked at the end of an execution reversed.
    ///
    /// Such an operation never becomes an event of this execution, yet it may be blocked *because
    /// of* an event that could come after it. If the execution ended in a violation, no other one
    /// need ever execute it. And if the execution was abandoned because all enabled threads sleep,
    /// it is not enough that an equivalent execution goes on elsewhere: the choice to add belongs
    /// to a node of *this* path, at which the sleeping threads have not run. (Say `a` sleeps, `b`
    /// took a lock and waits for what `a` would do, and `c` waits for the lock. That `c` could have
    /// been first, still before `a`, shows nowhere else.)
    pub(crate) fn reverse_blocked(&mut self) {
        for thread in members(self.live) {
            if !self.is_enabled(thread) {
                self.append(thread);
                self.log.pop(&mut self.objects);
            }
        }
    }

    /// Goes back to the deepest node with a choice left and takes it; `false` if there is none.
    pub(crate) fn backtrack(&mut self) -> bool {
        while let Some(last) = self.nodes.len().checked_sub(1) {
            if self.log.len() > last {
                self.log.pop(&mut self.objects);
            }
            let node = &mut self.nodes[last];
            node.sleep |= bit(usize::from(node.choice));
            let left = node.backtrack & node.enabled & !node.sleep;
            if let Some(choice) = self.prefer(left) {
                self.nodes[last].choice = super::race::as_number(choice);
                return true;
            }
            self.nodes.pop();
            if let Some(cache) = &mut self.cache {
                cache.close();
            }
        }
        false
    }

    /// Forgets the tree.
    pub(crate) fn clear_tree(&mut self) {
        self.nodes.clear();
        while self.log.len() > 0 {
            self.log.pop(&mut self.objects);
        }
    }

    /// How the current path goes: the thread of each event.
    pub(crate) fn path(&self) -> Vec<u8> {
        (0..self.log.len())
            .map(|index| self.log.event(index).thread)
            .collect()
    }

    /// How often the current path switches, and how often it does so away from a thread that could
    /// have gone on.
    pub(crate) fn switches(&self) -> (u32, u32) {
        let mut switches = 0;
        let mut preemptions = 0;
        for pair in self.nodes.windows(2) {
            if pair[0].choice != pair[1].choice {
                switches += 1;
                let left = usize::from(pair[0].choice);
                preemptions += as_u32(usize::from(pair[1].enabled & bit(left) != 0));
            }
        }
        (switches, preemptions)
    }
}
