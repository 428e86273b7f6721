//! Whether threads keep the promise that the cache rests on: that what a thread does is a function of
//! its history.
//!
//! With [`Config::validate_checkpoints`](crate::Config::validate_checkpoints), what each thread
//! announces is noted under its history, and what it writes under its history after the write. As
//! a thread with the same history must go on in the same way, a difference shows that something
//! which steers the thread is not in the history: a checkpoint forgets it, or it went past the
//! types of this crate. A state that is cut shows nothing, so some are explored on all the same.
//!
//! What is compared is what does not depend on the interleaving: the operation, the arguments (but no
//! addresses and no indices of events), how many threads were spawned and how deep the thread is
//! in read sections. Objects are compared if they were used before there was a second thread; those
//! first used later have other identities in other interleavings. Words are compared for operations that tell or set the whole word.

use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::panic::Location;

use super::super::op::Kind;
use super::super::threads::bit;
use super::super::{Engine, Mode};
use super::hash::{Map, Sort, hash, low, mix, mix_all};
use super::present::History;
use crate::report::kind;

/// What a thread did, and how to call it.
#[derive(Debug)]
struct Deed {
    hash: u64,
    name: Box<str>,
}

/// What an entry costs in a table that is half full, with a name of usual length.
const DEED_BYTES: usize = 2 * size_of::<(u128, Deed)>() + 32;

#[derive(Debug)]
pub(super) struct Validation {
    /// One of so many cuts is not made.
    every: u32,
    cuts: u64,
    deeds: Map<u128, Deed>,
    /// How many deeds are noted at most. Others are not compared.
    limit: usize,
    /// A difference, until it can be reported.
    complaint: Option<String>,
}

impl Validation {
    pub(super) fn new(every: NonZeroU32, bytes: usize) -> Self {
        Self {
            every: every.get(),
            cuts: 0,
            deeds: Map::default(),
            limit: bytes / DEED_BYTES,
            complaint: None,
        }
    }

    /// Whether a cut that could be made is not to be.
    pub(super) fn goes_on(&mut self) -> bool {
        self.cuts += 1;
        self.cuts.is_multiple_of(self.every.into())
    }

    /// Notes what the thread called `thread` does, or compares it with what was done at the same moment.
    fn compare(
        &mut self,
        moment: u128,
        hash: u64,
        now: String,
        place: Option<&Location<'_>>,
        thread: &str,
    ) {
        let len = self.deeds.len();
        match self.deeds.entry(moment) {
            Entry::Occupied(then) if then.get().hash != hash && self.complaint.is_none() => {
                self.complaint = Some(complaint(thread, place, &now, &then.get().name));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                if len < self.limit {
                    let name = now.into();
                    place.insert(Deed { hash, name });
                }
            }
        }
    }
}

/// What is wrong with a thread that does `now` where it did `then`.
fn complaint(thread: &str, place: Option<&Location<'_>>, now: &str, then: &str) -> String {
    let (since, reason) = match place {
        Some(place) => (
            format!("since its checkpoint at {place}"),
            "what it does depends on something that the checkpoint forgets",
        ),
        None => (
            "since its start".to_owned(),
            "what it does depends on something besides (see the promise at `Config::cache`)",
        ),
    };
    format!(
        "{thread} has observed {since} what it had observed in another execution, and does \
         \"{now}\" where it did \"{then}\": {reason}"
    )
}

impl Engine {
    /// Compares what the current thread has announced. `false` if it may not do that.
    pub(crate) fn keeps_promise(&mut self) -> bool {
        let thread = self.current;
        if !self.cache_observes() {
            return true;
        }
        let Some(cache) = &self.cache else {
            return true;
        };
        if cache.validation.is_none() || cache.present.try_thread(thread).is_none() {
            return true;
        }
        let history = cache.present.thread(thread);
        let slot = &self.slots[thread];
        let mut deed = mix(
            hash(Sort::Announced, slot.spawned.into()),
            slot.reading.depth.into(),
        );
        let lives = self.live & bit(thread) != 0;
        if lives {
            let op = &slot.op;
            deed = mix(deed, op.kind as u64 + 1);
            if op.object != 0 {
                let object = cache.present.object(op.object);
                deed = mix_all(deed, if object.early { object.identity } else { 0 });
            }
            match op.kind {
                Kind::Join => {
                    let target = usize::try_from(op.argument).expect("a thread number");
                    deed = mix_all(deed, cache.present.thread(target).identity);
                }
                Kind::WriteRange => deed = mix(deed, op.length as u64),
                Kind::GracePeriod => {}
                _ => deed = mix(deed, op.argument),
            }
        }
        let now = if lives {
            self.describe_op(&slot.op)
        } else {
            "end".to_owned()
        };
        let moment = moment(history, thread, Sort::Announced);
        let (place, name) = (history.place, slot.name.clone());
        let Some(validation) = self.cache.as_mut().and_then(|c| c.validation.as_mut()) else {
            return true;
        };
        validation.compare(moment, low(deed), now, place, &name);
        match validation.complaint.take() {
            Some(message) => {
                self.break_off(kind::CHECKPOINT.into(), message);
                false
            }
            None => true,
        }
    }

    /// Compares the word that the current thread has written in the operation it executes.
    pub(super) fn cache_written(&mut self, word: u64) {
        let thread = self.current;
        let slot = &self.slots[thread];
        let whole = matches!(
            slot.op.kind,
            Kind::Store | Kind::Rmw | Kind::CompareExchange
        );
        if !whole || !matches!(self.mode, Mode::Normal | Mode::Quiet) {
            return;
        }
        let Some(cache) = &self.cache else { return };
        if cache.validation.is_none() {
            return;
        }
        let Some(&history) = cache.present.try_thread(thread) else {
            return;
        };
        let now = format!("{} = {word}", self.describe_op(&slot.op));
        let name = slot.name.clone();
        let moment = moment(&history, thread, Sort::Written);
        if let Some(validation) = self.cache.as_mut().and_then(|c| c.validation.as_mut()) {
            validation.compare(moment, word, now, history.place, &name);
        }
    }
}

/// What a deed of `thread` is noted under.
fn moment(history: &History, thread: usize, sort: Sort) -> u128 {
    mix_all(
        mix_all(hash(sort, thread as u64), history.identity),
        history.seen,
    )
}
