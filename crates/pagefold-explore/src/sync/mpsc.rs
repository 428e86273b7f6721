//! Channels, as in [`std::sync::mpsc`].
//!
//! What the library of the language promises is explored, no more: messages arrive in the order in which they were sent,
//! and each operation on a channel is ordered with all others. There are no timeouts, and no channels without room
//! (`sync_channel(0)`).

use std::collections::VecDeque;
use std::fmt;
pub use std::sync::mpsc::{RecvError, SendError, TryRecvError, TrySendError};

use super::Arc;
use super::meeting::Meeting;
use crate::engine::object;

static CHANNEL: object::Sort = object::Sort {
    name: "channel",
    waits: &["waits for a message in", "waits for room in"],
};

/// The waits of [`CHANNEL`].
const MESSAGE: u64 = 0;
const ROOM: u64 = 1;

/// In the word: there is nobody left to send. Below it is the number of messages.
const NO_SENDER: u64 = 1 << 62;
/// In the word: there is nobody left to receive.
const NO_RECEIVER: u64 = 1 << 63;

fn messages(word: u64) -> u64 {
    word & (NO_SENDER - 1)
}

struct State<T> {
    queue: VecDeque<T>,
    senders: usize,
}

struct Channel<T> {
    meeting: Meeting<State<T>>,
    /// How many messages there is room for.
    room: u64,
}

impl<T> Channel<T> {
    fn new(room: u64) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            senders: 1,
        };
        Arc::new(Self {
            meeting: Meeting::new(&CHANNEL, 0, state),
            room,
        })
    }

    fn send(&self, value: T) -> Result<(), SendError<T>> {
        let room = self.room;
        let mut value = Some(value);
        let mut send = |word, state: &mut State<T>| {
            if word & NO_RECEIVER != 0 {
                return (word, (), "nobody receives");
            }
            state.queue.extend(value.take());
            (word + 1, (), "send")
        };
        if room == u64::MAX {
            self.meeting.update(|_, word, state| send(word, state));
        } else {
            self.meeting.claim(
                ROOM,
                |word| messages(word) < room || word & NO_RECEIVER != 0,
                |_, word, state| send(word, state),
            );
        }
        value.map_or(Ok(()), |value| Err(SendError(value)))
    }

    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let room = self.room;
        self.meeting.update(|_, word, state| {
            if word & NO_RECEIVER != 0 {
                let error = TrySendError::Disconnected(value);
                (word, Err(error), "nobody receives")
            } else if messages(word) < room {
                state.queue.push_back(value);
                (word + 1, Ok(()), "send")
            } else {
                (word, Err(TrySendError::Full(value)), "full")
            }
        })
    }

    fn clone_sender(self: &Arc<Self>) -> Arc<Self> {
        // No event: until the copy is dropped again, which is one, nothing depends on how many there are.
        self.meeting.state().senders += 1;
        Arc::clone(self)
    }

    fn drop_sender(&self) {
        self.meeting.update(|_, word, state| {
            state.senders -= 1;
            if state.senders == 0 {
                (word | NO_SENDER, (), "the last sender goes")
            } else {
                (word, (), "a sender goes")
            }
        });
    }
}

/// A channel with room for any number of messages.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Channel::new(u64::MAX);
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

/// A channel with room for `bound` messages.
///
/// # Panics
///
/// If `bound` is 0: handing over messages without a place in between is not supported.
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    assert!(bound > 0, "a channel without room is not supported");
    let channel = Channel::new(bound as u64);
    (SyncSender(Arc::clone(&channel)), Receiver(channel))
}

/// The sending end of a [`channel`].
pub struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Sends; never waits.
    ///
    /// # Errors
    ///
    /// With the message, if the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone_sender())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

/// The sending end of a [`sync_channel`].
pub struct SyncSender<T>(Arc<Channel<T>>);

impl<T> SyncSender<T> {
    /// Sends; waits for room.
    ///
    /// # Errors
    ///
    /// With the message, if the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }

    /// Sends if there is room.
    ///
    /// # Errors
    ///
    /// With the message, if there is no room or the receiver is gone.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value)
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone_sender())
    }
}

impl<T> Drop for SyncSender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

/// The receiving end of a channel.
pub struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    /// Takes the oldest message; waits for one.
    ///
    /// # Errors
    ///
    /// If there is none and all senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        let received = self.0.meeting.claim(
            MESSAGE,
            |word| messages(word) > 0 || word & NO_SENDER != 0,
            |_, word, state| match state.queue.pop_front() {
                Some(value) => (word - 1, Some(value), "receive"),
                None => (word, None, "nobody sends"),
            },
        );
        received.flatten().ok_or(RecvError)
    }

    /// Takes the oldest message, if there is one.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0
            .meeting
            .update(|_, word, state| match state.queue.pop_front() {
                Some(value) => (word - 1, Ok(value), "receive"),
                None if word & NO_SENDER != 0 => {
                    (word, Err(TryRecvError::Disconnected), "nobody sends")
                }
                None => (word, Err(TryRecvError::Empty), "empty"),
            })
    }

    /// All messages until the senders are gone; waits for each.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let unread = self.0.meeting.update(|_, word, state| {
            let unread = std::mem::take(&mut state.queue);
            (word & NO_SENDER | NO_RECEIVER, unread, "the receiver goes")
        });
        // Only now, as dropping a message may be anything.
        drop(unread);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
