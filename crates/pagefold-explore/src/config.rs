//! What an exploration may cost, and which limit it met.

use std::fmt;

/// The most threads one execution may have, the main thread included.
///
/// Sets of threads are single machine words.
pub const MAX_THREADS: usize = 64;

/// How the tree of schedules is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// One execution for each class of equivalent interleavings, as nearly as source sets and
    /// sleep sets allow.
    Reduced,
    /// Every interleaving of visible operations (except those that commute with all others, such as
    /// the start of a thread). Only good for tiny programs; it is what
    /// [`Search::Reduced`] is tested against.
    EveryInterleaving,
    /// [`Config::max_executions`] executions in which each step's thread is picked at random.
    RandomWalk {
        /// Where the choices come from: the same seed gives the same executions.
        seed: u64,
    },
    /// [`Config::max_executions`] executions with random priorities that change at `depth - 1` random steps
    /// (probabilistic concurrency testing).
    Pct {
        /// Where the choices come from.
        seed: u64,
        /// How many ordered events a violation may need to be likely to be found; 1 is no change at all.
        depth: u32,
    },
    /// [`Config::max_executions`] executions in which each pending operation has a random priority, and draws another
    /// one when something is executed that conflicts with it (partial order sampling).
    Pos {
        /// Where the choices come from.
        seed: u64,
    },
}

impl Search {
    /// Whether it looks at some executions only, picked by chance.
    pub(crate) fn samples(self) -> bool {
        match self {
            Self::Reduced | Self::EveryInterleaving => false,
            Self::RandomWalk { .. } | Self::Pct { .. } | Self::Pos { .. } => true,
        }
    }
}

/// What a load may see, and so which executions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Sequential consistency: the newest value, whatever [`Ordering`](std::sync::atomic::Ordering)
    /// an access asks for.
    #[default]
    Sc,
    /// Total store order, as on x86: a store that is not `SeqCst` waits in a buffer of its thread
    /// before it reaches memory, and meanwhile the thread goes on. At most [`MAX_THREADS`] / 2
    /// threads in an execution.
    Tso,
    /// Release and acquire, the model of C11: a load may see any value that is not older than what
    /// happens before it. `Relaxed` accesses and fences mean what they say; loads do not see stores
    /// that come later in time (load buffering), and `SeqCst` accesses are a little stronger than
    /// they need to be.
    Ra,
}

/// The limits of an exploration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Give up after so many executions.
    pub max_executions: u64,
    /// Cut an execution off after so many events. The usual reason for meeting it is a retry loop
    /// without [`hint::relax`](crate::hint::relax).
    pub max_steps: u32,
    /// Give up after so many executions were cut off by [`max_steps`](Self::max_steps), or [ran out](crate::run_out) of something.
    pub max_truncated: u64,
    /// Bytes of stack for each thread.
    pub stack_size: usize,
    /// After the first violation, go on for at most so many executions to find one that is
    /// simpler to read.
    pub minimize_executions: u64,
    /// How the tree of schedules is walked.
    pub search: Search,
    /// Look only at interleavings with at most so many preemptions: switches from a thread that could
    /// have gone on. Most errors need one or two. Not for searches that sample; without
    /// [`cache`](Self::cache) and by one worker.
    pub max_preemptions: Option<u32>,
    /// If [`Search::Reduced`] is not done after so many executions, look at interleavings without preemptions, then with at
    /// most one and with at most two, before going on: in a long search errors come early, and with few
    /// preemptions.
    pub hunt_after: u64,
    /// For how many executions at most each of these is done. 0 to leave them out.
    pub hunt_executions: u64,
    /// Where there is a choice, try threads that were spawned later first. What is explored is the
    /// same up to equivalence; which violation is found first, and how many executions turn out to be
    /// redundant, may not be. On by default: where the last thread looks at what the others have done, as is
    /// usual, there are fewer (3 328 executions of the literature's lastzero(10) instead of 16 370).
    pub newest_first: bool,
    /// Remember the states that were explored, and do not explore them again: far fewer executions of
    /// programs that contend for locks, at the price of memory. Only for [`Search::Reduced`].
    ///
    /// A state is known by the values of shared objects and by what each thread has observed, so it
    /// takes a promise: threads tell each other nothing that makes a difference to what they or
    /// the checks do, except by
    ///
    /// * values of the types of this crate, read in visible operations, and contents of its
    ///   [`Mutex`](crate::sync::Mutex), [`RwLock`](crate::sync::RwLock), [channels](crate::sync::mpsc),
    ///   [`OnceLock`](crate::sync::OnceLock) and [`UnsafeCell`](crate::cell::UnsafeCell);
    /// * what is known when a thread is spawned, and results returned to whoever joins it;
    /// * the freeing of memory, by [`write_range`](crate::write_range).
    ///
    /// Addresses in an [`AtomicPtr`](crate::sync::atomic::AtomicPtr) are values like others: what is found at one must not
    /// depend on the order in which threads allocate.
    ///
    /// From the first access to an [`UnsafeCell`](crate::cell::UnsafeCell) on, an execution is not compared with others.
    ///
    /// In particular plain memory guarded by a lock without content
    /// ([`RawLock`](crate::sync::RawLock)) must not be written by several threads. Checks at the end of an
    /// execution may look at values of shared objects; of what ended threads saw on the way, one
    /// of several possibilities is shown to them.
    pub cache: bool,
    /// What is explored: any text that is the same as long as the program is. It goes into
    /// [traces](crate::Trace::program), so that a replay can tell whether it is of the same program.
    pub program: String,
    /// How many bytes the [cache](Self::cache) may take for states, about. When it is full, states that
    /// were not met for the longest time are dropped, which costs executions and nothing else. By default
    /// 1 GiB. Whether it was enough stands in the [report](crate::Report::cache).
    pub cache_bytes: usize,
    /// A debugging aid for [checkpoints](crate::hint::checkpoint) and the promise given for the
    /// [cache](Self::cache): if not 0, what threads do is compared with what they did when they
    /// had observed the same, and a difference is a [violation](crate::kind::CHECKPOINT). One of
    /// so many cuts is not made, so that there is something to compare; with 1, none is. Executions
    /// are slower, as all of them are recorded, and there may be as many bytes again in use as
    /// for the cache. When these are used up, what is new is not compared.
    pub validate_checkpoints: u32,
    /// Whether what an execution has in common with the one before may be put back instead of executed again, if the program
    /// [has a way](crate::World). On by default; it makes no difference to any figure or trace, only to time. A program that depends on
    /// something besides the schedule is more likely to be noticed without.
    pub rewind: bool,
    /// What a load may see. There is no [`cache`](Self::cache) with a model other than
    /// [`Memory::Sc`]: it is switched off.
    pub memory: Memory,
}

impl Config {
    /// Whether the sets of choices and of sleeping threads are kept as small as they can be.
    pub(crate) fn is_reduced(&self) -> bool {
        self.search == Search::Reduced && self.max_preemptions.is_none()
    }

    /// Whether states are remembered.
    pub(crate) fn remembers(&self) -> bool {
        self.cache && self.is_reduced() && self.memory == Memory::Sc
    }

    /// Whether executions may begin in the middle. The cache and memory models keep more of an execution than what is put
    /// back; samples have nothing in common.
    pub(crate) fn rewinds(&self) -> bool {
        self.rewind && !self.cache && !self.search.samples() && self.memory == Memory::Sc
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_executions: 50_000_000,
            max_steps: 10_000,
            max_truncated: 100,
            stack_size: 64 * 1024,
            minimize_executions: 20_000,
            search: Search::Reduced,
            max_preemptions: None,
            hunt_after: 50_000,
            hunt_executions: 5_000,
            newest_first: true,
            cache: false,
            program: String::new(),
            cache_bytes: 1 << 30,
            validate_checkpoints: 0,
            rewind: true,
            memory: Memory::Sc,
        }
    }
}

impl Config {
    /// Sets [`max_executions`](Self::max_executions).
    #[must_use]
    pub fn max_executions(mut self, limit: u64) -> Self {
        self.max_executions = limit;
        self
    }

    /// Sets [`max_steps`](Self::max_steps).
    #[must_use]
    pub fn max_steps(mut self, limit: u32) -> Self {
        self.max_steps = limit;
        self
    }

    /// Sets [`max_truncated`](Self::max_truncated).
    #[must_use]
    pub fn max_truncated(mut self, limit: u64) -> Self {
        self.max_truncated = limit;
        self
    }

    /// Sets [`stack_size`](Self::stack_size).
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Sets [`minimize_executions`](Self::minimize_executions).
    #[must_use]
    pub fn minimize_executions(mut self, limit: u64) -> Self {
        self.minimize_executions = limit;
        self
    }

    /// Sets [`search`](Self::search).
    #[must_use]
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// Sets [`max_preemptions`](Self::max_preemptions).
    #[must_use]
    pub fn max_preemptions(mut self, limit: u32) -> Self {
        self.max_preemptions = Some(limit);
        self
    }

    /// Sets [`hunt_after`](Self::hunt_after).
    #[must_use]
    pub fn hunt_after(mut self, executions: u64) -> Self {
        self.hunt_after = executions;
        self
    }

    /// Sets [`hunt_executions`](Self::hunt_executions).
    #[must_use]
    pub fn hunt_executions(mut self, limit: u64) -> Self {
        self.hunt_executions = limit;
        self
    }

    /// Sets [`newest_first`](Self::newest_first).
    #[must_use]
    pub fn newest_first(mut self, newest_first: bool) -> Self {
        self.newest_first = newest_first;
        self
    }

    /// Sets [`cache`](Self::cache).
    #[must_use]
    pub fn cache(mut self, cache: bool) -> Self {
        self.cache = cache;
        self
    }

    /// Sets [`program`](Self::program).
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = name.into();
        self
    }

    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets [`validate_checkpoints`](Self::validate_checkpoints).
    #[must_use]
    pub fn validate_checkpoints(mut self, every: u32) -> Self {
        self.validate_checkpoints = every;
        self
    }

    /// Sets [`rewind`](Self::rewind).
    #[must_use]
    pub fn rewind(mut self, rewind: bool) -> Self {
        self.rewind = rewind;
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }
}

/// The limit that kept an exploration from being exhaustive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// [`Config::max_executions`] was reached.
    Executions(u64),
    /// At least one execution was cut off after [`Config::max_steps`] events.
    Steps(u32),
    /// [`Config::max_preemptions`] left interleavings out.
    Preemptions(u32),
    /// The search samples, and this many executions were to be looked at.
    Sample(u64),
    /// An execution wanted more threads than there can be: [`MAX_THREADS`], or half as many if each has
    /// a store buffer.
    Threads(usize),
    /// An execution ran out of something that the program has a fixed number of, and [said so](crate::run_out).
    Program(&'static str),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executions(n) => write!(f, "more than {n} executions"),
            Self::Steps(n) => write!(
                f,
                "an execution of more than {n} events (a retry loop without `hint::relax`?)"
            ),
            Self::Preemptions(n) => write!(f, "only interleavings with at most {n} preemptions"),
            Self::Sample(n) => write!(f, "only {n} executions, picked by chance"),
            Self::Threads(n) => write!(f, "an execution with more than {n} threads"),
            Self::Program(what) => write!(f, "an execution that ran out of {what}"),
        }
    }
}
