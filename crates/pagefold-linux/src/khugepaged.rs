//! khugepaged of the real kernel: it scans when it is told to, with the limits that it is told, and rests otherwise.
//!
//! It looks through the processes that have said MADV_HUGEPAGE of something, and goes on at its own pace. Here that pace is a minute, and a
//! new pace wakes it at once; so writing the pace is a request for one pass. These are settings of the whole machine: other programs' memory may
//! become huge meanwhile, or not. They are put back (`sys/settings.rs`).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use linux_raw_sys::general::MADV_HUGEPAGE;
use rustix::io::Errno;

use crate::sys::memory::{self, HUGE, Pages, Source};
use crate::sys::settings::{Settings, set};
use crate::sys::{Address, access};

/// Where its settings are, and what is set once.
const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// Milliseconds between two passes that nobody asked for.
const REST: &str = "60000";

/// Pages of one pass: more than there are.
const PASS: &str = "1000000000";

/// How often it may find nothing to do.
const PASSES: u32 = 3;

/// How long a pass may take, and how often is looked whether it is over.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(1);

fn own(name: &str) -> PathBuf {
    PathBuf::from(format!("{THP}/khugepaged/{name}"))
}

/// khugepaged, which does nothing by itself until this is dropped.
#[derive(Debug)]
pub(crate) struct Khugepaged {
    _settings: Settings,
}

impl Khugepaged {
    /// Takes it, and allows or denies huge pages of shmem. This process must have one thread only.
    pub(crate) fn take(shmem_denied: bool) -> io::Result<Self> {
        let names = [
            "scan_sleep_millisecs",
            "pages_to_scan",
            "max_ptes_none",
            "max_ptes_shared",
            "max_ptes_swap",
        ];
        let shmem = PathBuf::from(format!("{THP}/shmem_enabled"));
        let paths: Vec<PathBuf> = names.map(own).into_iter().chain([shmem.clone()]).collect();
        let settings = Settings::keep(&paths)?;
        enlist()?;
        set(&shmem, if shmem_denied { "deny" } else { "advise" })?;
        set(&own("pages_to_scan"), PASS)?;
        let taken = Self {
            _settings: settings,
        };
        // It may have been at it.
        pass()?;
        Ok(taken)
    }
}

/// Has khugepaged pass through all processes that have asked for huge pages, with these limits of missing, shared and swapped pages. How many huge
/// pages it has made.
///
/// It gives up where the kernel has a reference to a page for reasons of its own, and no result says so. A pass that made nothing has changed
/// nothing, so there is another one then, as in the kernel's own test.
pub(crate) fn scan([none, shared, swap]: [usize; 3]) -> io::Result<u64> {
    set(&own("max_ptes_none"), none)?;
    set(&own("max_ptes_shared"), shared)?;
    set(&own("max_ptes_swap"), swap)?;
    let before = collapsed()?;
    for _ in 0..PASSES {
        pass()?;
        if collapsed()? != before {
            break;
        }
    }
    Ok(collapsed()? - before)
}

/// How many huge pages it has made since the machine was started.
pub(crate) fn collapsed() -> io::Result<u64> {
    read("pages_collapsed")
}

/// Puts this process, and those that it forks, on khugepaged's list, whatever they have: it counts no pass through an empty list.
fn enlist() -> io::Result<()> {
    let pages = Pages::new(Address::new(0), 2 * HUGE);
    memory::mmap(pages, Source::Anonymous)?;
    let touched = access::store(pages.start, 1);
    let advised = memory::madvise(pages, MADV_HUGEPAGE);
    memory::munmap(pages)?;
    advised?;
    touched.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// One pass.
fn pass() -> io::Result<()> {
    let before = read("full_scans")?;
    set(&own("scan_sleep_millisecs"), REST)?;
    let begin = Instant::now();
    while read("full_scans")? == before {
        if begin.elapsed() > PATIENCE {
            return Err(Errno::TIME.into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn read(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(own(name))?;
    text.trim().parse().map_err(io::Error::other)
}
