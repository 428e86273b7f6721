//! Shared objects. Each method that other threads can notice is a visible operation, unless its
//! name says *quiet*.
//!
//! Outside an exploration all of them work as plain values of a single thread.

pub mod atomic;
mod barrier;
mod condvar;
mod counter;
mod lock;
pub(crate) mod meeting;
pub mod mpsc;
mod mutex;
mod once;
mod refcount;
mod rwlock;
mod rwsem;

pub use std::sync::{Arc, LockResult, TryLockError, TryLockResult, Weak};

pub use self::barrier::{Barrier, BarrierWaitResult};
pub use self::condvar::{Condvar, WaitTimeoutResult};
pub use self::counter::Counter;
pub use self::lock::RawLock;
pub use self::mutex::{Mutex, MutexGuard};
pub use self::once::{Once, OnceLock};
pub use self::refcount::RefCount;
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::rwsem::RawRwSem;
pub use crate::class::{LockClass, LockKind};
