//! The observation cache: subtrees that start in a state which was explored before are cut.
//!
//! Stacks cannot be compared, but a thread that depends on nothing but the schedule is a function of
//! what it observed. So the state at a node is known by its **key**, a hash of
//!
//! * the value of each object;
//! * for each thread that lives the history of what it observed: which operations it executed on
//!   which objects, and what these told it. What an operation does not tell (the value that a
//!   store overwrites, who held a lock before) is left out; that is where states meet that are
//!   reached by executions which are not equivalent;
//! * which threads have ended, and the order of the spawning of all (their numbers);
//! * for each thread whether something has changed that it has read in this round of a retry loop, so
//!   that [`relax`](crate::hint::relax) would not wait; the lock order noted so far; the memory
//!   freed so far. (As long as no thread has ever called `relax`, rounds make no
//!   difference. At the first call, all that was stored is dropped.)
//!
//! A key may tell states apart that are the same. It must not do the reverse, so:
//!
//! * **Objects.** Numbers of objects follow the order of first uses, which differs between
//!   interleavings. In keys an object is known by the history of the thread that used it first, up to
//!   then. By determinism equal histories reach the same object. Objects that
//!   threads first use while they race are known by different names in different interleavings,
//!   and few states meet; touch them before, in a [`quiet`](crate::quiet) section.
//! * **Ends.** When a thread has ended, its history is forgotten, unless it leaves a result, which
//!   whoever joins it then observes as the whole history.
//! * **Checkpoints** ([`hint::checkpoint`](crate::hint::checkpoint)) replace the history of a thread
//!   by what it says it depends on, and what the engine knows of it besides: locks it holds, the
//!   read section it is in, what it has read in this round of a retry loop. The content of locks it
//!   holds, and names of objects, go on being told apart by the whole history.
//! * **Plain memory** is unknown here. The content of the locks of this crate that have one is
//!   treated as the history of who wrote it last, and observed as such by those that take the lock.
//!   So is freed memory, by those that still use it. Everything else is a promise asked for at
//!   [`Config::cache`](crate::Config::cache).
//! * **Grace periods** wait for a section or not depending on happens-before, not on values. At
//!   nodes where a thread waits for one, nothing is stored and nothing is cut. Elsewhere it
//!   is enough to know what is ahead: a call still to come happens before nothing that has
//!   happened.
//!
//! * **Data races** ([`cell`](crate::cell)) depend on happens-before, too: whether an access is one depends on what
//!   its thread knows of those before. So from the first access to a cell on, nothing is stored and
//!   nothing is cut. (Two accesses that both lie below a node are ordered by events below it.)
//!
//! A node is **stored** when it is done, with its sleep set and its **footprint**: which thread
//! touches which object how, in any event below. A new node with the key of a stored one and at least
//! its sleep set repeats it, and is **cut**. What lies below has been explored from there. What is
//! lost are the races of events below with events of the present path. To make up for them, each
//! event `e` on the path that may race with something in the footprint is reversed:
//!
//! * the `v` of [`super::search`] begins with the events on the path which do not happen after `e`.
//!   Initials of a beginning are initials of the whole, so if there are any, they are used as
//!   they are there;
//! * if there are none, all of `v` lies below, and nothing is known about it but the footprint. Then
//!   every thread of a set is added that has an initial of each possible `v` (see
//!   [`Engine::firsts`]). It begins with the thread `p` whose event in the footprint races with `e`.
//!   (That alone, as is right with persistent sets, would lose states with source sets: `p` need
//!   not be an initial.) The first event of `p` in `v` is the operation which `p` has announced at
//!   this node. If it is no initial, something comes before it that is tied to it: an event of
//!   another thread `q`, below, on the same object. So all `q` are added that touch that object
//!   in a way that conflicts. The first event of `q` in `v`, announced as well, either is an initial,
//!   or the same holds for it; and as happens-before has no circles, that comes to an end at an
//!   initial, in the set. Threads that already know `e` do nothing in `v`. Where operations
//!   are tied to others than by their one object (joins, grace periods, read sections that begin,
//!   ranges, retry loops), and for threads that are not there yet, *all* threads enabled before
//!   `e` are added instead, which is never wrong.
//!
//! If that would cost more than cuts have saved so far, there is no cut (see [`savings`]; not to cut is never
//! wrong).
//!
//! In an event below that waits (for a lock, a value, a grace period), all events count which the
//! thread does not know now; the same is done for all others, as reversing too much is never
//! wrong. Operations that were blocked where an execution ended are part of the footprint, as they
//! have races, too (see [`Engine::reverse_blocked`]).
//!
//! What the cache knows of the present state is kept with an undo log, as the log of events is: going
//! back in the tree goes back there, and a prefix that is executed again costs nothing (see
//! [`present`]). What is stored is bounded, and dropping is never wrong (see [`store`]).
//!
//! Only nodes that are done are stored, so a path that comes back to its own key, as it can by
//! checkpoints, is not cut there.

//! | module | idea |
//! |---|---|
//! | [`mod@hash`] | histories and parts of keys |
//! | [`present`] | the present state as far as it is known here, and the way back |
//! | [`footprint`] | which thread touches what below a node |
//! | [`savings`] | which cuts are worth it |
//! | [`store`] | the nodes that are done, in bounded memory |
//! | [`cut`] | the key of a state, and what is to be done where one is cut |
//! | [`validate`] | whether the program keeps its promise |

mod cut;
mod footprint;
mod hash;
mod present;
mod savings;
mod store;
mod validate;

use std::panic::Location;

pub(crate) use self::cut::{Threads, Wish};
use self::footprint::{Footprint, GRACE, NEW, NOTHING, RANGE, SECTION, WAITS, Word};
pub(crate) use self::hash::mix;
use self::hash::mix_all;
use self::hash::{Sort, hash};
use self::present::{Mark, Present};
use self::savings::Savings;
use self::store::{Done, Store};
use self::validate::Validation;
use super::object::{Object, Shape};
use super::op::{Access, Kind};
use super::state;
use super::threads::ThreadSet;
use super::{Engine, Mode};
use crate::config::Config;
use crate::report::CacheUse;

/// A node of the current path.
#[derive(Debug, Default)]
struct Frame {
    /// `None` if it may not be stored.
    key: Option<u128>,
    /// The sleep set at entry.
    sleep: ThreadSet,
    footprint: Footprint,
    /// How many executions the subtree took so far, or would have taken without cuts.
    executions: u64,
    /// Choices that nobody but a cut asked for.
    guessed: ThreadSet,
    /// The present state at the node.
    mark: Mark,
}

/// The cache of one exploration.
#[derive(Debug)]
pub(crate) struct Cache {
    store: Store,
    present: Present,
    /// By depth. Those from `depth` on are kept to be used again.
    frames: Vec<Frame>,
    depth: usize,
    /// What happens before this step has happened in an earlier execution, and is known.
    known: u32,
    /// Whether retry loops were seen.
    relaxes: bool,
    validation: Option<Validation>,
    /// How many cuts were not made, to validate.
    validated: u64,
    scratch: Vec<Word>,
    savings: Savings,
}

impl Cache {
    pub(crate) fn new(config: &Config) -> Self {
        let every = std::num::NonZeroU32::new(config.validate_checkpoints);
        Self {
            store: Store::new(config.cache_bytes),
            present: Present::new(),
            frames: Vec::new(),
            depth: 0,
            known: 0,
            relaxes: false,
            validation: every.map(|every| Validation::new(every, config.cache_bytes)),
            validated: 0,
            scratch: Vec::new(),
            savings: Savings::default(),
        }
    }

    /// Whether executions are recorded, as each of them may turn out to break the promise.
    pub(crate) fn records(&self) -> bool {
        self.validation.is_some()
    }

    /// What it came to, if the longest execution had `longest` events.
    pub(crate) fn report(&self, longest: u32) -> CacheUse {
        CacheUse::new(
            self.store.stored,
            self.store.looked_up,
            self.store.dropped,
            self.validated,
            longest,
        )
    }

    /// A node is added to the path.
    fn open(&mut self, key: Option<u128>, sleep: ThreadSet) {
        if self.depth == self.frames.len() {
            self.frames.push(Frame::default());
        }
        let frame = &mut self.frames[self.depth];
        frame.key = key;
        frame.sleep = sleep;
        frame.footprint.clear();
        frame.executions = 0;
        frame.guessed = 0;
        frame.mark = self.present.mark();
        self.depth += 1;
    }

    /// The last node of the path is done.
    pub(crate) fn close(&mut self) {
        self.depth -= 1;
        let (above, here) = self.frames.split_at_mut(self.depth);
        let frame = &here[0];
        if let Some(parent) = above.last_mut() {
            let words = frame.footprint.words();
            parent.footprint.unite(words, &mut self.scratch);
            parent.executions += frame.executions;
            let new = parent.mark.objects..frame.mark.objects;
            for name in self.present.names(new) {
                parent.footprint.forget(name);
            }
        }
        if let Some(key) = frame.key {
            let node = Done {
                sleep: frame.sleep,
                executions: frame.executions,
            };
            self.store.insert(key, node, frame.footprint.words());
        }
    }

    /// The last node of the path is where the search goes on, with another choice.
    pub(crate) fn resume(&mut self) {
        let Some(frame) = self.depth.checked_sub(1).map(|top| &self.frames[top]) else {
            return;
        };
        self.present.rewind(frame.mark);
        self.known = super::log::as_u32(self.depth);
    }

    /// The path is forgotten.
    pub(crate) fn leave(&mut self) {
        self.present.clear();
        self.depth = 0;
        self.known = 0;
    }

    /// What is explored at the end of the path takes so many executions more.
    fn count(&mut self, executions: u64) {
        if let Some(top) = self.depth.checked_sub(1) {
            self.frames[top].executions += executions;
        }
    }

    /// A cut saves so many executions, besides the one that it ends.
    fn save(&mut self, executions: u64) {
        self.count(executions);
        self.savings.save(executions);
    }

    /// A cut had `threads` tried in the place of `event`.
    fn guess(&mut self, event: usize, threads: ThreadSet) {
        if let Some(frame) = self.frames[..self.depth].get_mut(event) {
            frame.guessed |= threads;
        }
    }

    /// A thread ends a round of a retry loop.
    fn relax(&mut self) {
        if !self.relaxes {
            self.relaxes = true;
            self.store.clear();
            for frame in &mut self.frames[..self.depth] {
                frame.key = None;
            }
        }
    }

    /// Adds to the footprint of the deepest node at or above `depth`.
    fn touch(&mut self, depth: usize, thread: usize, object: u32, bits: u16) {
        let Some(at) = self.depth.checked_sub(1) else {
            return;
        };
        let frame = &mut self.frames[at.min(depth)];
        if object != 0 && object as usize >= frame.mark.objects {
            frame.footprint.touch(thread, NOTHING, NEW);
        } else {
            let name = self.present.object(object).name;
            frame.footprint.touch(thread, name, bits);
        }
    }
}

impl Engine {
    /// Whether there is a cache that does not know yet what happens now.
    #[inline]
    pub(crate) fn cache_observes(&self) -> bool {
        self.cache
            .as_ref()
            .is_some_and(|cache| self.step >= cache.known && self.mode != Mode::Inert)
    }

    /// Makes an object known that was just registered.
    pub(crate) fn cache_object(&mut self, word: u64, origin: u32) {
        if !self.cache_observes() {
            return;
        }
        let thread = self.current;
        if let Some(cache) = &mut self.cache {
            let freed = origin
                .checked_sub(1)
                .map_or(0, |event| cache.present.freed_by(event));
            cache.present.register(word, freed, thread);
        }
    }

    /// The objects below `mark` are those of an earlier execution.
    pub(crate) fn cache_reset(&mut self, mark: u32) {
        if !self.cache_observes() {
            return;
        }
        let thread = self.current;
        if let Some(cache) = &mut self.cache {
            cache.present.reset_to(mark, thread);
        }
    }

    /// A thread is spawned, the `nth` one of the current thread.
    pub(crate) fn cache_spawn(&mut self, thread: usize, nth: u16) {
        if !self.cache_observes() {
            return;
        }
        let parent = self.current;
        if let Some(cache) = &mut self.cache {
            cache.present.spawn(thread, parent, nth);
        }
    }

    /// A thread ends.
    pub(crate) fn cache_end(&mut self, thread: usize) {
        if !self.cache_observes() {
            return;
        }
        let result = self.slots[thread].result;
        if let Some(cache) = &mut self.cache {
            cache.present.end(thread, result);
        }
    }

    /// The current thread has set the value of `object`, in an operation or behind its back.
    pub(crate) fn cache_word(&mut self, object: &Object, word: u64, in_operation: bool) {
        if !self.cache_observes() {
            return;
        }
        if let Some(cache) = &mut self.cache
            && let Some(number) = self.objects.lookup(object)
        {
            cache.present.note_word(number, word);
        }
        if in_operation {
            self.cache_written(word);
        }
    }

    /// The current thread gets to see what is guarded by `object`, or has changed it.
    pub(crate) fn cache_content(&mut self, object: &Object, changed: bool) {
        if !self.cache_observes() {
            return;
        }
        let thread = self.current;
        if let Some(cache) = &mut self.cache
            && let Some(&history) = cache.present.try_thread(thread)
            && let Some(number) = self.objects.lookup(object)
        {
            cache.present.note_lent(number);
            if changed {
                let told = history.told(history.seen);
                cache.present.note_content(number, told);
            } else {
                let content = cache.present.object(number).content();
                cache
                    .present
                    .observe(thread, mix_all(history.seen, content));
            }
        }
    }

    /// `thread` is about to execute what it announced, as event `index`, which is new: what does
    /// that tell it?
    pub(crate) fn cache_event(&mut self, thread: usize, index: u32) {
        let op = self.slots[thread].op;
        let Some(cache) = &mut self.cache else { return };
        let present = &mut cache.present;
        let word = op.word();
        let told = match op.kind {
            Kind::Load | Kind::Rmw | Kind::CompareExchange | Kind::Await | Kind::Claim => word,
            Kind::TryGet => u64::from(word != 0),
            Kind::Put => word.cmp(&op.argument) as u64,
            Kind::TryExclusive => state::is_free(word).into(),
            Kind::TryShared => state::is_shareable(word).into(),
            _ => 0,
        };
        let mut seen = present.thread(thread).seen;
        if op.object != 0 {
            present.note_word(op.object, word);
            let object = present.object(op.object);
            let is_lock = matches!(self.objects.entry(op.object).shape, Shape::Lock(_));
            if object.content() != 0 && !is_lock {
                seen = mix_all(seen, object.content());
            }
            if object.freed() != 0 {
                seen = mix_all(seen, object.freed());
            }
            seen = mix_all(seen, object.identity);
        }
        seen = mix(mix(seen, op.kind as u64), told);
        match op.kind {
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                if let Some(&target) = present.result_of(target) {
                    seen = mix_all(seen, target.seen);
                    present.inherit(thread, target.place);
                }
            }
            Kind::WriteRange => {
                let (start, len) = op.range();
                let told = present.thread(thread).told(seen);
                for object in self.objects.within(start, len) {
                    present.note_freed(object, told);
                }
                present.free(index, told);
            }
            _ => {}
        }
        present.observe(thread, seen);
    }

    /// Adds the event `index`, which `thread` has announced, to the footprint.
    pub(crate) fn cache_footprint(&mut self, index: usize, thread: usize, access: Access) {
        let op = self.slots[thread].op;
        let begins = self.begins_section(thread);
        let Some(cache) = &mut self.cache else { return };
        if begins {
            cache.touch(index, thread, 0, SECTION);
        }
        match op.kind {
            Kind::Relax => {
                for &(object, _) in &self.slots[thread].watched {
                    cache.touch(index, thread, object, WAITS);
                }
            }
            Kind::WriteRange => {
                cache.touch(index, thread, 0, RANGE);
                let (start, len) = op.range();
                for object in self.objects.within(start, len) {
                    cache.touch(index, thread, object, Access::Write.bit());
                }
            }
            Kind::GracePeriod => cache.touch(index, thread, 0, GRACE),
            _ if op.object == 0 => {}
            kind => {
                let bits = match kind {
                    Kind::Await => WAITS,
                    Kind::Claim => WAITS | access.bit(),
                    // Whether it commutes is another question on another path.
                    Kind::Put => Access::Write.bit(),
                    _ => access.bit(),
                };
                cache.touch(index, thread, op.object, bits);
            }
        }
    }

    /// The current thread forgets what it has observed, except for what is summed up in `state`.
    pub(crate) fn cache_checkpoint(&mut self, place: &'static Location<'static>, state: u64) {
        if !self.cache_observes() || !matches!(self.mode(), Mode::Normal | Mode::Quiet) {
            return;
        }
        let thread = self.current;
        let slot = &self.slots[thread];
        let Some(cache) = &self.cache else { return };
        let identity = |object: u32| cache.present.object(object).identity;
        // Where the location is stored is the same during an exploration.
        let mut seen = hash(Sort::Checkpoint, std::ptr::from_ref(place).addr() as u64);
        seen = mix(seen, state);
        seen = mix(seen, slot.reading.depth.into());
        seen = mix(seen, slot.reading.section.is_some().into());
        seen = mix(seen, slot.spawned.into());
        // These are sets, one of which may hold a thing twice.
        let mut holds: u128 = 0;
        for held in &slot.held {
            let object = mix_all(
                hash(Sort::Held, held.exclusive.into()),
                identity(held.object),
            );
            holds = holds.wrapping_add(object);
        }
        let mut reads: u128 = 0;
        let mut read = Vec::new();
        for event in self.round_of(thread) {
            let event = self.log.event(event as usize);
            if cut::is_look(event.access) && !read.contains(&event.object) {
                read.push(event.object);
                reads ^= mix_all(hash(Sort::Read, 0), identity(event.object));
            }
        }
        seen = mix_all(mix_all(seen, holds), reads);
        let Some(cache) = &mut self.cache else { return };
        // What it may have put into a lock that it holds depends on what it forgets, and it goes on
        // knowing the content.
        let mut contents: u128 = 0;
        for held in &slot.held {
            let present = &mut cache.present;
            if !present.object(held.object).lends() {
                continue;
            }
            if held.exclusive {
                let history = present.thread(thread);
                let told = history.told(history.seen);
                present.note_content(held.object, told);
            }
            let object = present.object(held.object);
            let known = mix_all(hash(Sort::Content, 0), object.identity);
            contents = contents.wrapping_add(mix_all(known, object.content()));
        }
        cache.present.forget(thread, mix_all(seen, contents), place);
    }

    /// The current thread announces the end of a round of a retry loop.
    pub(crate) fn cache_relax(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.relax();
        }
    }
}
