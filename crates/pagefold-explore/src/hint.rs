//! Retry loops.

use crate::engine::op::{Kind, Op};
use crate::engine::rt;

/// Ends a round of a retry loop: waits until something that the thread has read since the last
/// `relax` (or its start) has been changed by another thread.
///
/// A round that sees the same as the one before fails in the same way, so nothing is lost by
/// waiting, and the loop becomes finite. What counts as reading: loads, failed compare-exchanges,
/// failed attempts at a lock. If nothing was read, it returns at once.
///
/// If every thread waits, and some of them here, that is a livelock.
pub fn relax() {
    let watches = rt::with(|engine| engine.mode() == crate::engine::Mode::Normal && engine.watch());
    if watches == Some(true) {
        rt::visible_plain(Op::plain(Kind::Relax, 0));
    }
}
