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
//!   then. By determinism equal histories reach the same object. (Objects below a
//!   [mark](crate::object_mark) keep what they were in the first execution.) Objects that
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
//! A node is **stored** when it is done, with its sleep set and its **footprint**: which thread
//! touches which object how, in any event below. A new node with the key of a stored one and at least
//! its sleep set repeats it, and is **cut**. What lies below has been explored from there. What is
//! lost are the races of events below with events of the present path. To make up for them, each
//! event `e` on the path that may race with something in the footprint is reversed:
//!
//! * the `v` of [`super::search`] begins with the events on the path which do not happen after `e`.
//!   Initials of a beginning are initials of the whole, so if there are any, they are used as
//!   they are there;
//! * if there are none, nothing is known about the initials of `v`, and *all* threads enabled
//!   before `e` are added. (To add the thread of the event in the footprint, as is right with
//!   persistent sets, loses states with source sets: the thread need not be an initial.)
//!
//! In an event below that waits (for a lock, a value, a grace period), all events count which the
//! thread does not know now; the same is done for all others, as reversing too much is never
//! wrong. Operations that were blocked where an execution ended are part of the footprint, as they
//! have races, too (see [`Engine::reverse_blocked`]).
//!
//! Only nodes that are done are stored, so a path that comes back to its own key, as it can by
//! checkpoints, is not cut there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::object::Object;
use super::op::{Access, Kind, Op};
use super::state;
use super::threads::{ThreadSet, members};
use super::{Engine, Mode};

/// What a footprint says of one thread and one object: a set of accesses, and of these.
const WAITS: u16 = 1 << 12;
/// Begins a read section; of no object.
const SECTION: u16 = 1 << 13;
/// Waits for a grace period; of no object.
const GRACE: u16 = 1 << 14;
/// Writes to a range; of no object.
const RANGE: u16 = 1 << 15;

/// How many nodes are stored at most. To store no more than that costs time, not soundness.
const MAX_ENTRIES: usize = 1 << 22;

/// Which thread touches which object how: a sparse set of bits, by word. A word has 16 bits for each
/// of four threads.
type Footprint = Vec<(u32, u64)>;

/// A node that is done.
#[derive(Debug)]
struct Entry {
    sleep: ThreadSet,
    footprint: Rc<[(u32, u64)]>,
}

/// A node of the current path.
#[derive(Debug, Default)]
struct Frame {
    /// `None` if it may not be stored.
    key: Option<u128>,
    /// The sleep set at entry.
    sleep: ThreadSet,
    footprint: Footprint,
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its name in keys and footprints.
    name: u32,
    /// It was registered in an earlier execution, below a mark.
    kept: bool,
    /// Its value is known in this execution.
    seen: bool,
    word: u64,
    /// The history of who wrote last what belongs to it besides its value.
    content: u128,
    /// The history of who freed its memory last.
    freed: u128,
    /// It is a lock with content, and that was lent out in this execution.
    lends: bool,
    /// Its part of the key.
    part: u128,
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug)]
struct History {
    /// Who it is: the same in all interleavings.
    identity: u128,
    /// What it has observed, from its spawning on.
    seen: u128,
    /// What it had observed before its last checkpoint.
    before: u128,
    /// How many objects it was the first to use.
    registered: u32,
    /// Its part of the key.
    part: u128,
    /// It has ended with a result.
    result: bool,
}

impl History {
    /// What somebody else may learn of it. After a checkpoint, what a thread has observed says no
    /// longer which thread it was.
    fn with_identity(&self) -> u128 {
        mix_all(self.identity, self.seen)
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = scramble(self.0 ^ u64::from(byte));
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = low(key);
    }
}

type ByKey<V> = HashMap<u128, V, BuildHasherDefault<AsIs>>;

/// The cache of one exploration.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: ByKey<Vec<Entry>>,
    stored: usize,
    /// Whether retry loops were seen.
    relaxes: bool,
    /// The names of objects, by what identifies them.
    names: ByKey<u32>,
    /// The first value ever known of an object, by name.
    initial: Vec<u64>,
    /// The number that an object had last, by name.
    numbers: Vec<u32>,

    /// By number.
    objects: Vec<Known>,
    threads: Vec<History>,
    /// `WriteRange` events, as index, and the history at each.
    freed: Vec<(u32, u128)>,
    /// The parts of the key, added up.
    sum: u128,

    frames: Vec<Frame>,
    depth: usize,
    scratch: Footprint,
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
const fn low(hash: u128) -> u64 {
    hash as u64
}

const fn high(hash: u128) -> u64 {
    low(hash >> 64)
}

/// A bijection in which each bit depends on each (the finalizer of `MurmurHash3`).
#[inline]
const fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Adds `value` to a history: two independent halves.
#[inline]
pub(crate) fn mix(history: u128, value: u64) -> u128 {
    let a = scramble(low(history).wrapping_add(0x9e37_79b9_7f4a_7c15) ^ value);
    let b = scramble(
        high(history).wrapping_mul(0xbf58_476d_1ce4_e5b9)
            ^ value.wrapping_add(0x2545_f491_4f6c_dd1d),
    );
    u128::from(b) << 64 | u128::from(a)
}

#[inline]
pub(crate) fn mix_all(history: u128, other: u128) -> u128 {
    mix(mix(history, low(other)), high(other))
}

/// What a hash is of.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Sort {
    Object,
    Name,
    Thread,
    Ended,
    Result,
    Freed,
    Awake,
    Order,
    Checkpoint,
    Held,
    Read,
    Content,
}

#[inline]
fn hash(sort: Sort, value: u64) -> u128 {
    mix(u128::from(sort as u8), value)
}

/// Adds the bits of `other` to `footprint`.
fn unite(footprint: &mut Footprint, other: &[(u32, u64)], scratch: &mut Footprint) {
    let mut at = 0;
    let mut missing = false;
    for &(word, bits) in other {
        while at < footprint.len() && footprint[at].0 < word {
            at += 1;
        }
        match footprint.get_mut(at) {
            Some((here, known)) if *here == word => *known |= bits,
            _ => {
                missing = true;
                break;
            }
        }
    }
    if !missing {
        return;
    }
    scratch.clear();
    let (mut mine, mut theirs) = (footprint.iter().peekable(), other.iter().peekable());
    loop {
        let next = match (mine.peek(), theirs.peek()) {
            (Some(&&(a, x)), Some(&&(b, y))) if a == b => {
                mine.next();
                theirs.next();
                (a, x | y)
            }
            (Some(&&(a, x)), Some(&&(b, _))) if a < b => {
                mine.next();
                (a, x)
            }
            (Some(&&first), None) => {
                mine.next();
                first
            }
            (_, Some(&&first)) => {
                theirs.next();
                first
            }
            (None, None) => break,
        };
        scratch.push(next);
    }
    std::mem::swap(footprint, scratch);
}

impl Cache {
    /// Prepares for an execution.
    pub(crate) fn restart(&mut self) {
        self.threads.clear();
        self.freed.clear();
        for known in &mut self.objects {
            known.part = 0;
        }
        self.sum = 0;
    }

    /// The objects below `mark` are those of an earlier execution.
    pub(crate) fn reset_to(&mut self, mark: u32, thread: usize) {
        for known in &mut self.objects {
            self.sum ^= std::mem::take(&mut known.part);
        }
        for number in 1..mark {
            let known = &mut self.objects[number as usize];
            *known = Known {
                name: known.name,
                kept: true,
                ..Known::default()
            };
            self.numbers[known.name as usize] = number;
        }
        // What identifies those above must not be what identifies one below.
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.registered = thread.registered.max(mark);
        }
    }

    /// `thread` is the first to use object `number`.
    fn register(&mut self, number: u32, word: u64, freed: u128, thread: usize) {
        let identity = match self.threads.get_mut(thread) {
            Some(history) => {
                history.registered += 1;
                let of_thread = mix_all(hash(Sort::Name, 0), history.identity);
                let of_thread = mix_all(of_thread, history.before);
                mix(mix_all(of_thread, history.seen), history.registered.into())
            }
            // Nobody runs: there is nothing that could tell it from others, so nothing may meet.
            None => hash(Sort::Name, u64::from(number)),
        };
        let fresh = super::log::as_u32(self.names.len()) + 1;
        let name = *self.names.entry(identity).or_insert(fresh);
        let len = self.numbers.len().max(name as usize + 1);
        self.numbers.resize(len, 0);
        self.initial.resize(len, 0);
        if name == fresh {
            self.initial[name as usize] = word;
        }
        self.numbers[name as usize] = number;
        let len = self.objects.len().max(number as usize + 1);
        self.objects.resize(len, Known::default());
        self.objects[number as usize] = Known {
            name,
            seen: true,
            word,
            freed,
            ..Known::default()
        };
        self.refresh(number);
    }

    /// The part of an object in the key. A kept one has none until it changes, as nothing is known
    /// of it before its first use.
    fn refresh(&mut self, number: u32) {
        let known = &mut self.objects[number as usize];
        self.sum ^= known.part;
        let initial = self.initial[known.name as usize];
        let unchanged = !known.seen || known.word == initial;
        let untouched = known.content == 0 && known.freed == 0;
        known.part = if known.kept && unchanged && untouched {
            0
        } else {
            let part = mix(hash(Sort::Object, known.name.into()), known.word);
            mix_all(mix_all(part, known.content), known.freed)
        };
        self.sum ^= known.part;
    }

    /// The value of an object is `word`.
    #[inline]
    fn note_word(&mut self, number: u32, word: u64) {
        let known = &mut self.objects[number as usize];
        if !known.seen || known.word != word {
            known.seen = true;
            known.word = word;
            self.refresh(number);
        }
    }

    fn note_content(&mut self, number: u32, content: u128) {
        self.objects[number as usize].content = content;
        self.refresh(number);
    }

    fn note_freed(&mut self, number: u32, history: u128) {
        self.objects[number as usize].freed = history;
        self.refresh(number);
    }

    /// A thread is spawned, the `nth` one of its parent.
    pub(crate) fn spawn(&mut self, thread: usize, parent: usize, nth: u16) {
        // Its first steps may depend on all that its parent knows.
        let (identity, seen) = match self.threads.get(parent) {
            Some(parent) => (mix(parent.identity, nth.into()), parent.seen),
            None => (0, 0),
        };
        debug_assert_eq!(thread, self.threads.len());
        self.threads.push(History {
            identity,
            seen: mix_all(hash(Sort::Name, 1), mix_all(identity, seen)),
            before: 0,
            registered: 0,
            part: 0,
            result: false,
        });
        self.observed(thread);
    }

    /// The part of a thread in the key.
    #[inline]
    fn observed(&mut self, thread: usize) {
        let history = &mut self.threads[thread];
        let part = mix_all(hash(Sort::Thread, thread as u64), history.identity);
        let part = mix_all(part, history.seen);
        self.sum ^= history.part ^ part;
        history.part = part;
    }

    /// A thread ends, with a result or without.
    pub(crate) fn end(&mut self, thread: usize, result: bool) {
        let history = &mut self.threads[thread];
        let sort = if result { Sort::Result } else { Sort::Ended };
        let mut part = mix_all(hash(sort, thread as u64), history.identity);
        if result {
            part = mix_all(part, history.seen);
        }
        history.result = result;
        self.sum ^= history.part ^ part;
        history.part = part;
    }

    /// The number of the object called `name`, if it has one in this execution, in which numbers
    /// below `next` are given out.
    fn number(&self, name: u32, next: u32) -> Option<u32> {
        let number = *self.numbers.get(name as usize)?;
        (number < next && self.objects[number as usize].name == name).then_some(number)
    }

    /// A node is added to the path.
    pub(crate) fn open(&mut self, key: Option<u128>, sleep: ThreadSet) {
        if self.depth == self.frames.len() {
            self.frames.push(Frame::default());
        }
        let frame = &mut self.frames[self.depth];
        frame.key = key;
        frame.sleep = sleep;
        frame.footprint.clear();
        self.depth += 1;
    }

    /// The last node of the path is done.
    pub(crate) fn close(&mut self) {
        self.depth -= 1;
        let (above, here) = self.frames.split_at_mut(self.depth);
        let frame = &here[0];
        if let Some(parent) = above.last_mut() {
            unite(&mut parent.footprint, &frame.footprint, &mut self.scratch);
        }
        let Some(key) = frame.key else { return };
        if self.stored >= MAX_ENTRIES {
            return;
        }
        let entries = self.entries.entry(key).or_default();
        let before = entries.len();
        entries.retain(|entry| frame.sleep & !entry.sleep != 0);
        entries.push(Entry {
            sleep: frame.sleep,
            footprint: frame.footprint.as_slice().into(),
        });
        self.stored = self.stored + entries.len() - before;
    }

    /// A thread ends a round of a retry loop.
    fn relax(&mut self) {
        if !self.relaxes {
            self.relaxes = true;
            self.entries.clear();
            self.stored = 0;
            for frame in &mut self.frames[..self.depth] {
                frame.key = None;
            }
        }
    }

    /// Adds to the footprint of the deepest node at or above `depth`.
    fn touch(&mut self, depth: usize, thread: usize, name: u32, bits: u16) {
        let Some(at) = self.depth.checked_sub(1) else {
            return;
        };
        let footprint = &mut self.frames[at.min(depth)].footprint;
        let word = name
            .checked_mul(16)
            .expect("fewer names than fit into memory")
            + super::log::as_u32(thread / 4);
        let bits = u64::from(bits) << (thread % 4 * 16);
        match footprint.binary_search_by_key(&word, |&(word, _)| word) {
            Ok(found) => footprint[found].1 |= bits,
            Err(place) => footprint.insert(place, (word, bits)),
        }
    }
}

impl Engine {
    /// Makes an object known to the cache that was just registered.
    pub(crate) fn cache_object(&mut self, number: u32, word: u64, origin: u32) {
        let thread = self.current;
        if let Some(cache) = &mut self.cache {
            let freed = cache
                .freed
                .iter()
                .rev()
                .find(|(event, _)| event + 1 == origin);
            let freed = freed.map_or(0, |&(_, history)| history);
            cache.register(number, word, freed, thread);
        }
    }

    /// The value of `object` changes.
    pub(crate) fn cache_word(&mut self, object: &Object, word: u64) {
        if let Some(cache) = &mut self.cache
            && let Some(number) = self.objects.lookup(object)
        {
            cache.note_word(number, word);
        }
    }

    /// The current thread gets to see what is guarded by `object`, or has changed it.
    pub(crate) fn cache_content(&mut self, object: &Object, changed: bool) {
        let thread = self.current;
        if let Some(cache) = &mut self.cache
            && thread < cache.threads.len()
            && let Some(number) = self.objects.lookup(object)
        {
            cache.objects[number as usize].lends = true;
            if changed {
                cache.note_content(number, cache.threads[thread].with_identity());
            } else {
                let content = cache.objects[number as usize].content;
                let history = &mut cache.threads[thread];
                history.seen = mix_all(history.seen, content);
                cache.observed(thread);
            }
        }
    }

    /// `thread` is about to execute what it announced, as event `index`: what does that tell it?
    pub(crate) fn cache_event(&mut self, thread: usize, index: u32) {
        let op = self.slots[thread].op;
        let Some(cache) = &mut self.cache else { return };
        let word = op.word();
        let told = match op.kind {
            Kind::Load | Kind::Rmw | Kind::CompareExchange | Kind::Await | Kind::Claim => word,
            Kind::TryGet => u64::from(word != 0),
            Kind::Put => word.cmp(&op.argument) as u64,
            Kind::TryExclusive => state::is_free(word).into(),
            Kind::TryShared => state::is_shareable(word).into(),
            _ => 0,
        };
        let mut seen = cache.threads[thread].seen;
        let mut name = 0;
        if op.object != 0 {
            cache.note_word(op.object, word);
            let known = &cache.objects[op.object as usize];
            name = known.name;
            if known.freed != 0 {
                seen = mix_all(seen, known.freed);
            }
        }
        seen = mix(seen, u64::from(name) << 8 | u64::from(op.kind as u8));
        seen = mix(seen, told);
        match op.kind {
            Kind::Join => {
                let target = usize::try_from(op.argument).expect("a thread number");
                let target = cache.threads[target];
                if target.result {
                    seen = mix_all(seen, target.seen);
                }
            }
            Kind::WriteRange => {
                let (start, len) = op.range();
                let by = History {
                    seen,
                    ..cache.threads[thread]
                };
                let by = by.with_identity();
                for object in self.objects.within(start, len) {
                    cache.note_freed(object, by);
                }
                cache.freed.push((index, by));
                cache.sum ^= mix_all(hash(Sort::Freed, 0), by);
            }
            _ => {}
        }
        cache.threads[thread].seen = seen;
        cache.observed(thread);
    }

    /// Adds the event `index`, which is `op` of `thread`, to the footprint.
    pub(crate) fn cache_footprint(&mut self, index: usize, thread: usize, op: &Op, access: Access) {
        let begins = self.begins_section(thread);
        let Some(cache) = &mut self.cache else { return };
        let name = |cache: &Cache, object: u32| cache.objects[object as usize].name;
        if begins {
            cache.touch(index, thread, 0, SECTION);
        }
        match op.kind {
            Kind::Relax => {
                for &(object, _) in &self.slots[thread].watched {
                    cache.touch(index, thread, name(cache, object), WAITS);
                }
            }
            Kind::WriteRange => {
                cache.touch(index, thread, 0, RANGE);
                let (start, len) = op.range();
                for object in self.objects.within(start, len) {
                    cache.touch(index, thread, name(cache, object), Access::Write.bit());
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
                cache.touch(index, thread, name(cache, op.object), bits);
            }
        }
    }

    /// The key of the present state. `None` if it has none.
    fn key(&self) -> Option<u128> {
        let cache = self.cache.as_ref()?;
        let mut key = cache.sum;
        for thread in members(self.live) {
            match self.slots[thread].op.kind {
                Kind::GracePeriod => return None,
                _ if cache.relaxes && self.would_not_wait(thread) => {
                    key ^= hash(Sort::Awake, thread as u64);
                }
                _ => {}
            }
        }
        for (held, taken) in self.order.pairs() {
            let held = std::ptr::from_ref(held).addr() as u64;
            let taken = std::ptr::from_ref(taken).addr() as u64;
            key ^= mix(hash(Sort::Order, held), taken);
        }
        Some(key)
    }

    /// Whether something that `thread` has read in this round of a retry loop has been changed by
    /// another thread since. (See [`Engine::watch`]: what counts is the first look, and whatever
    /// changed after a later one changed after the first.)
    fn would_not_wait(&self, thread: usize) -> bool {
        self.round_of(thread).any(|index| {
            let event = self.log.event(index as usize);
            is_look(event.access) && self.has_changed_since(event.object, index, thread)
        })
    }

    /// Whether the present node, with this sleep set, repeats one that is done; if so, it is cut.
    /// Otherwise it becomes part of the path.
    pub(crate) fn is_cut(&mut self, sleep: ThreadSet) -> bool {
        let key = self.key();
        let Some(cache) = &mut self.cache else {
            return false;
        };
        let entries = key.and_then(|key| cache.entries.get(&key));
        let found = entries.and_then(|entries| {
            entries
                .iter()
                .find(|entry| entry.sleep & !sleep == 0)
                .map(|entry| Rc::clone(&entry.footprint))
        });
        let Some(footprint) = found else {
            cache.open(key, sleep);
            return false;
        };
        if let Some(top) = cache.depth.checked_sub(1) {
            let frame = &mut cache.frames[top];
            unite(&mut frame.footprint, &footprint, &mut cache.scratch);
        }
        let mut races = std::mem::take(&mut self.races);
        races.clear();
        for &(word, bits) in footprint.iter() {
            let (name, first) = (word / 16, word as usize % 16 * 4);
            for offset in 0..4 {
                #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
                let bits = (bits >> (offset * 16)) as u16;
                if bits != 0 {
                    self.collect_races(first + offset, name, bits, &mut races);
                }
            }
        }
        races.sort_unstable();
        races.dedup();
        for &event in &races {
            self.reverse_unknown(event);
        }
        self.races = races;
        true
    }

    /// The current thread forgets what it has observed, except for what is summed up in `state`.
    pub(crate) fn cache_checkpoint(&mut self, state: u128) {
        let thread = self.current;
        if self.cache.is_none() || !matches!(self.mode(), Mode::Normal | Mode::Quiet) {
            return;
        }
        let slot = &self.slots[thread];
        let Some(cache) = &self.cache else { return };
        let name = |object: u32| u64::from(cache.objects[object as usize].name);
        let mut seen = mix_all(hash(Sort::Checkpoint, 0), state);
        seen = mix(seen, slot.reading.depth.into());
        seen = mix(seen, slot.reading.section.is_some().into());
        seen = mix(seen, slot.spawned.into());
        // These are sets: they are added up.
        for held in &slot.held {
            seen ^= mix(hash(Sort::Held, name(held.object)), held.exclusive.into());
        }
        let mut read = Vec::new();
        for event in self.round_of(thread) {
            let event = self.log.event(event as usize);
            if is_look(event.access) && !read.contains(&event.object) {
                read.push(event.object);
                seen ^= hash(Sort::Read, name(event.object));
            }
        }
        if let Some(cache) = &mut self.cache {
            // What it may have put into a lock that it holds depends on what it forgets, and it goes
            // on knowing the content.
            for held in &slot.held {
                if !cache.objects[held.object as usize].lends {
                    continue;
                }
                if held.exclusive {
                    cache.note_content(held.object, cache.threads[thread].with_identity());
                }
                let known = cache.objects[held.object as usize];
                seen ^= mix_all(hash(Sort::Content, known.name.into()), known.content);
            }
            let history = &mut cache.threads[thread];
            history.before = mix_all(history.before, history.seen);
            history.seen = seen;
            cache.observed(thread);
        }
    }

    /// The events of a thread since its last `Relax` or its start, the newest first.
    fn round_of(&self, thread: usize) -> impl Iterator<Item = u32> + '_ {
        let slot = &self.slots[thread];
        let mut next = if slot.seq == 0 { 0 } else { slot.last };
        std::iter::from_fn(move || {
            let index = next.checked_sub(1)?;
            let event = self.log.event(index as usize);
            next = event.previous_of_thread;
            (event.kind != Kind::Relax).then_some(index)
        })
        .fuse()
    }

    /// The current thread announces the end of a round of a retry loop.
    pub(crate) fn cache_relax(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.relax();
        }
    }

    /// Finds the events that may race with something that `thread` will do to the object called
    /// `name`.
    fn collect_races(&self, thread: usize, name: u32, bits: u16, races: &mut Vec<usize>) {
        // A thread still to be spawned knows at least what its parent knows, whoever that is.
        let last = (thread < self.threads)
            .then(|| self.slots[thread].last.checked_sub(1))
            .flatten();
        let is_news = |event: usize| {
            usize::from(self.log.event(event).thread) != thread
                && last.is_none_or(|last| !self.log.happens_before(event, last as usize))
        };
        let ranges = self.log.ranges.iter().map(|range| range.event as usize);
        if name == 0 {
            if bits & SECTION != 0 {
                let graces = self.log.graces.iter().map(|&event| event as usize);
                races.extend(graces.filter(|&event| is_news(event)));
            }
            if bits & GRACE != 0 {
                let sections = self.sections.iter().map(|section| section.first as usize);
                races.extend(sections.filter(|&event| is_news(event)));
            }
            if bits & RANGE != 0 {
                races.extend(ranges.filter(|&event| is_news(event)));
            }
            return;
        }
        let number = self
            .cache
            .as_ref()
            .and_then(|cache| cache.number(name, self.objects.mark()));
        let Some(number) = number else {
            // An object first used below may lie in memory freed above.
            races.extend(ranges.filter(|&event| is_news(event)));
            return;
        };
        let waits = bits & WAITS != 0;
        let accesses = bits | if waits { Access::Read.bit() } else { 0 };
        for (event, earlier) in self.log.chain(number, &self.objects) {
            if earlier.conflicts_with_any(accesses) && is_news(event) {
                races.push(event);
            }
            // See `super::race`: a wait looks past the last write.
            if !waits && super::race::is_barrier(earlier) {
                break;
            }
        }
    }
}

/// What a retry loop watches: see [`Engine::watch`].
fn is_look(access: Access) -> bool {
    matches!(access, Access::Read | Access::ReadExclusive)
}

#[cfg(test)]
mod tests {
    use super::{Sort, hash, mix, unite};

    #[test]
    fn footprints_unite() {
        let mut scratch = Vec::new();
        let mut a = vec![(1, 1), (5, 2)];
        unite(&mut a, &[(5, 4)], &mut scratch);
        assert_eq!(a, [(1, 1), (5, 6)]);
        unite(&mut a, &[(0, 1), (5, 8), (9, 1)], &mut scratch);
        assert_eq!(a, [(0, 1), (1, 1), (5, 14), (9, 1)]);
        unite(&mut a, &[], &mut scratch);
        assert_eq!(a.len(), 4);
        let mut empty = Vec::new();
        unite(&mut empty, &a, &mut scratch);
        assert_eq!(empty, a);
    }

    #[test]
    fn histories_depend_on_order_and_sort() {
        let h = hash(Sort::Thread, 0);
        assert_ne!(mix(mix(h, 1), 2), mix(mix(h, 2), 1));
        assert_ne!(hash(Sort::Thread, 1), hash(Sort::Ended, 1));
        assert_ne!(mix(h, 0), h);
    }
}
