//! Retry loops and checkpoints.

use crate::engine::op::{Kind, Op};
use crate::engine::rt;
use crate::is_quiet;
use crate::report::kind;

/// Ends a round of a retry loop: waits until something that the thread has read since the last
/// `relax` (or its start) has been changed by another thread.
///
/// A round that sees the same as the one before fails in the same way, so nothing is lost by
/// waiting, and the loop becomes finite. What counts as reading: loads, failed compare-exchanges,
/// failed attempts at a lock. If nothing was read, it returns at once.
///
/// Nobody can change anything for a thread inside [`quiet`](crate::quiet), so there it is
/// a violation. If every thread waits, and some of them here, that is a livelock.
pub fn relax() {
    if is_quiet() {
        let message = "retries in a quiet section, where nobody else runs".to_owned();
        rt::fail(kind::BLOCKED_IN_QUIET.into(), message);
    }
    let watches = rt::with(|engine| engine.mode() == crate::engine::Mode::Normal && engine.watch());
    if watches == Some(true) {
        rt::visible_plain(Op::plain(Kind::Relax, 0));
    }
}

/// As [`std::hint::spin_loop`]: the end of a round of a retry loop, [`relax`].
pub fn spin_loop() {
    relax();
}

/// Tells the [cache](crate::Config::cache) that what this thread does from here on depends on nothing
/// that it has observed so far, except for what is in `state` and what it still holds (locks, read
/// sections). Without a cache it does nothing.
///
/// Good places are the heads of loops whose rounds do not depend on each other, with the number of
/// the round as `state`. Checkpoints at different places in the source are different. If it is not
/// true, states are taken for the same that are not, and violations can be missed; with
/// [`Config::validate_checkpoints`](crate::Config::validate_checkpoints) that is
/// [found](crate::kind::CHECKPOINT).
#[track_caller]
pub fn checkpoint(state: u64) {
    let place = std::panic::Location::caller();
    rt::with(|engine| engine.cache_checkpoint(place, state));
}
