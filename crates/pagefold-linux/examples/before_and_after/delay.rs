//! How long the other process has to wait for the kernel, while its pages are collapsed.
//!
//! One thread of it goes from page to page of the huge page that is to be collapsed, and maps and unmaps a page elsewhere in between, which takes its `mmap_lock`
//! for writing. The longest of each kind counts since it was last asked. An access waits for the pages themselves, which a collapse has
//! locked; mapping waits for whoever has `mmap_lock`.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use serde::{Deserialize, Serialize};

use crate::mapper::HUGE;

const PAGE: usize = 4096;

/// The longest waits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Waits {
    access: Duration,
    map: Duration,
}

impl Waits {
    /// Those in the middle, of several times.
    pub(crate) fn median(times: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> Duration| {
            let mut all: Vec<Duration> = times.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Self {
            access: middle(|waits| waits.access),
            map: middle(|waits| waits.map),
        }
    }

    /// What another process wrote.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.1?} {:>10.1?}", self.access, self.map)
    }
}

/// Nanoseconds.
#[derive(Debug, Default)]
struct Longest {
    access: AtomicU64,
    map: AtomicU64,
}

/// In the other process, which has the object at `start`: each line of standard input is the number of the huge page to
/// watch from now on, and is answered with the longest waits before. Until the end of the input.
pub(crate) fn serve(start: usize) -> io::Result<()> {
    let longest: &'static Longest = Box::leak(Box::default());
    let watched: &'static AtomicUsize = Box::leak(Box::default());
    thread::spawn(move || {
        loop {
            // A failure would leave nothing to measure, which shows: both stay 0.
            if go_round(start + watched.load(Relaxed) * HUGE, longest).is_err() {
                return;
            }
        }
    });
    for line in io::stdin().lock().lines() {
        let huge = line?.parse().map_err(io::Error::other)?;
        watched.store(huge, Relaxed);
        let take = |longest: &AtomicU64| Duration::from_nanos(longest.swap(0, Relaxed));
        let waits = Waits {
            access: take(&longest.access),
            map: take(&longest.map),
        };
        println!(
            "{}",
            serde_json::to_string(&waits).map_err(io::Error::other)?
        );
        io::stdout().flush()?;
    }
    Ok(())
}

/// Every page of a huge page once.
fn go_round(start: usize, longest: &Longest) -> io::Result<()> {
    let note = |longest: &AtomicU64, since: Instant| {
        let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        longest.fetch_max(took, Relaxed);
    };
    for page in (start..start + HUGE).step_by(PAGE) {
        let since = Instant::now();
        // SAFETY: the mapping stays for ever, and can be read; others write nothing there.
        unsafe { ptr::read_volatile(ptr::with_exposed_provenance::<u64>(page)) };
        note(&longest.access, since);
        let since = Instant::now();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, at an address that the kernel chooses, which nobody refers to when it goes.
        unsafe {
            let new = mmap_anonymous(ptr::null_mut(), PAGE, access, MapFlags::PRIVATE)?;
            munmap(new, PAGE)?;
        }
        note(&longest.map, since);
    }
    Ok(())
}
