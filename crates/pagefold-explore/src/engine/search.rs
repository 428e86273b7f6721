//! Which thread goes next, and which choices are left to try.
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
use super::cache::{Threads, Wish};
use super::log::as_u32;
use super::op::{Access, Kind};
use super::threads::{ThreadSet, bit, first, last, members};
use super::tree::{Back, Choice, Tree};
use crate::config::{MAX_THREADS, Search};
use crate::observer::SearchStep;
use crate::subtree::{Subtree, Wanted};

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
    /// The program has run out of something.
    RanOut(&'static str),
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
        self.next = self.decide();
        if let Next::Thread(thread) = self.next
            && thread >= self.first_flusher
        {
            self.run_flushers();
        }
        self.next
    }

    /// Whose event is the next one.
    #[inline]
    pub(crate) fn decide(&mut self) -> Next {
        match self.tree.node(self.step as usize) {
            Some(node) => self.follow(usize::from(node.choice)),
            None => self.choose(),
        }
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
        if !self.keeps_promise() {
            return Next::Stop(Stop::Violation);
        }
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
        let enabled = self.within_bound(enabled);
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
        let sampled = match &self.sampler {
            Some(_) => {
                let affected = self.affected();
                self.sampler
                    .as_mut()
                    .map(|sampler| sampler.pick(enabled, affected, self.current, self.step))
            }
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
        let others = match self.search {
            Search::EveryInterleaving => available & !bit(preferred),
            _ if self.switches_freely(enabled) => enabled & !bit(preferred),
            _ => 0,
        };
        self.tree.push(enabled, sleep, preferred, others);
        Next::Thread(preferred)
    }

    /// The thread of a set to take first.
    #[inline]
    fn prefer(&self, set: ThreadSet) -> Option<usize> {
        preferred(self.newest_first, set)
    }

    /// The threads asleep at the new node: those that slept at the node before (among them the
    /// choices explored there) and whose next step is independent of the event in between.
    fn still_asleep(&self) -> ThreadSet {
        if self.search != Search::Reduced || self.preemptions.limit.is_some() {
            return 0;
        }
        let Some(parent) = self.tree.last() else {
            return 0;
        };
        if parent.sleep == 0 {
            return 0;
        }
        let event = self.tree.len() - 1;
        members(parent.sleep)
            .filter(|&thread| !self.depends(thread, event))
            .fold(0, |set, thread| set | bit(thread))
    }

    /// The threads for whose pending operations the event just executed makes a difference: they conflict with it, or are
    /// announced only now.
    fn affected(&self) -> ThreadSet {
        let Some(event) = (self.step as usize).checked_sub(1) else {
            return self.live;
        };
        members(self.live)
            .filter(|&thread| thread == self.current || self.depends(thread, event))
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
        if self.memory.is_weak() && self.owner(thread) == executed.owner() {
            // A thread and its flusher: what both have pending commutes.
            return false;
        }
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
        self.watch_step(|| SearchStep::Race { earlier, later });
        let wanted = Wanted {
            depth: earlier,
            initials: self.initials(earlier, later),
            racing: Some(self.log.event(later).thread),
        };
        self.want(wanted);
    }

    /// Has a reversal tried. Returns the choices that were added.
    pub(crate) fn want(&mut self, wanted: Wanted) -> ThreadSet {
        let newest_first = self.newest_first;
        let added = self
            .tree
            .want(wanted, |possible| preferred(newest_first, possible));
        for thread in members(added) {
            self.watch_step(|| SearchStep::Choice {
                event: wanted.depth,
                thread,
            });
        }
        added
    }

    /// The initials of the events after `earlier` which do not happen after it, followed by `later`
    /// (or by nothing, if that is the end of the log).
    pub(crate) fn initials(&self, earlier: usize, later: usize) -> ThreadSet {
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

    /// Has the race of an event with one that is still to come reversed: that one is part of what was cut
    /// off after the end of the log.
    /// Returns the choices that were added.
    pub(crate) fn reverse_unknown(&mut self, wish: Wish) -> ThreadSet {
        let want = |initials| Wanted {
            depth: wish.event,
            initials,
            racing: None,
        };
        match wish.threads {
            Threads::AnyOf(initials) => self.want(want(initials)),
            Threads::Each(threads) => {
                members(threads).fold(0, |added, thread| added | self.want(want(bit(thread))))
            }
        }
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

    /// Goes back to the deepest node with a choice left and takes it.
    pub(crate) fn backtrack(&mut self) -> Back {
        self.cache_execution();
        let cache = &mut self.cache;
        let back = self.tree.backtrack(|| {
            if let Some(cache) = cache {
                cache.close();
            }
        });
        let kept = self.tree.len().saturating_sub(1);
        self.truncate_log(kept);
        self.snapshots.go_back(as_u32(kept));
        if let Some(cache) = &mut self.cache {
            cache.resume();
        }
        if let Some(node) = self.tree.last() {
            let thread = usize::from(node.choice);
            self.watch_step(|| SearchStep::Back {
                event: kept,
                thread,
            });
        }
        back
    }

    fn truncate_log(&mut self, len: usize) {
        self.snapshots.forget_after(as_u32(len));
        while self.log.len() > len {
            self.log.pop(&mut self.objects);
        }
    }

    /// Goes to the root of a subtree and forgets all else; returns the tree as it was.
    pub(crate) fn enter(&mut self, subtree: &Subtree) -> Tree {
        self.truncate_log(0);
        if let Some(cache) = &mut self.cache {
            cache.leave();
        }
        std::mem::replace(&mut self.tree, Tree::of(subtree))
    }

    /// Forgets the execution that ended, to pick another one by chance.
    pub(crate) fn next_sample(&mut self) {
        let steps = self.step;
        if let Some(sampler) = &mut self.sampler {
            sampler.next_execution(steps);
        }
        let states = self.tree.states;
        self.enter(&Subtree::default());
        self.tree.states = states;
    }

    /// Goes on where the tree was left.
    pub(crate) fn resume_tree(&mut self, tree: Tree) {
        self.truncate_log(0);
        self.tree = tree;
        self.tree.forget_log();
    }

    /// How the current path goes.
    pub(crate) fn path(&self) -> Vec<Choice> {
        let nodes = self.tree.nodes()[..self.log.len()].iter();
        nodes.map(|node| (node.choice, node.variant)).collect()
    }

    /// Which of the `variants` of event `index` is executed.
    pub(crate) fn pick_variant(&mut self, index: usize, variants: usize) -> usize {
        let variants = u16::try_from(variants).unwrap_or(u16::MAX);
        let mut picked = None;
        if index >= self.log.len() {
            picked = self.scripted_variant();
            if let Some(sampler) = &mut self.sampler {
                picked = picked.or_else(|| Some(sampler.pick_variant(variants)));
            }
        }
        usize::from(self.tree.set_variants(index, variants, picked))
    }

    /// How often the current path switches, and how many of these switches are preemptions (see
    /// [`super::preempt`]).
    pub(crate) fn switches(&self) -> (u32, u32) {
        let nodes = self.tree.nodes();
        // That a store reaches memory is no switch.
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| usize::from(node.choice))
            .filter(|&thread| thread < self.first_flusher)
            .collect();
        let switches = threads.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let mut preemptions = 0;
        let mut running = 0;
        for (index, node) in nodes.iter().enumerate().take(self.log.len()) {
            if !self.log.event(index).kind.is_scheduled() {
                continue;
            }
            let preempted = running != node.choice && node.enabled & bit(usize::from(running)) != 0;
            preemptions += u32::from(preempted);
            running = node.choice;
        }
        (as_u32(switches), preemptions)
    }
}

#[inline]
fn preferred(newest_first: bool, set: ThreadSet) -> Option<usize> {
    if newest_first { last(set) } else { first(set) }
}
