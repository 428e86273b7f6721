//! The process whose page tables are looked at, and the mappings of both processes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::ptr;
use std::sync::mpsc;
use std::thread;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous};

use crate::delay;

/// A huge page.
pub(crate) const HUGE: usize = 2 << 20;

/// So many are collapsed.
pub(crate) const COUNT: usize = 8;

/// What is populated and dropped to keep `mmap_lock` busy: less than a table holds, so that no table comes or goes with it.
const BUSY: usize = HUGE / 2;

/// Maps all huge pages of an object where the kernel can make them huge, and reads each of their pages once.
///
/// The mapping stays for ever.
pub(crate) fn map(object: &File) -> io::Result<usize> {
    let size = COUNT * HUGE;
    // SAFETY: new memory, at an address that the kernel chooses.
    let room = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            size + HUGE,
            ProtFlags::empty(),
            MapFlags::PRIVATE,
        )?
    };
    let start = room.addr().next_multiple_of(HUGE);
    // SAFETY: what is replaced is a part of `room`, which nothing refers to: `start` is less than HUGE behind its beginning.
    unsafe {
        mmap(
            room.with_addr(start),
            size,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::FIXED,
            object.as_fd(),
            0,
        )?;
        madvise(room.with_addr(start), size, Advice::LinuxPopulateRead)?;
    }
    Ok(start)
}

/// Lets khugepaged collapse the mapping at `start`, which [`map`] gave.
pub(crate) fn ask_for_huge_pages(start: usize) -> io::Result<()> {
    let start = ptr::with_exposed_provenance_mut(start);
    // Twice: at the first call Linux 6.1 asks, before it takes the process into khugepaged's list, what the mapping was before.
    for _ in 0..2 {
        // SAFETY: only how the memory may be mapped is said.
        unsafe { madvise(start, COUNT * HUGE, Advice::LinuxHugepage)? };
    }
    Ok(())
}

/// Maps `object`, says so, keeps `mmap_lock` busy or watches how long it waits if `load` says that, and ends with its standard input.
pub(crate) fn run(object: &str, load: &str) -> io::Result<()> {
    let object = OpenOptions::new().read(true).write(true).open(object)?;
    let start = map(&object)?;
    if load == "busy" {
        // As khugepaged does, which would hardly get to run beside two threads of the usual priority.
        rustix::process::setpriority_process(None, 19)?;
        // Two, so that one has the lock while the other one is between two calls.
        let (running, runs) = mpsc::channel();
        for _ in 0..2 {
            let room = populate_new()?;
            let running = running.clone();
            thread::spawn(move || {
                let _ = running.send(populate_again(room));
                drop(running);
                while populate_again(room).is_ok() {}
            });
        }
        drop(running);
        // Once they have run, no tables come or go with them any more.
        for once in runs {
            once?;
        }
    }
    println!("mapped");
    if load == "watched" {
        return delay::serve(start);
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Memory with its one table.
fn populate_new() -> io::Result<usize> {
    // SAFETY: new memory, at an address that the kernel chooses.
    let room = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            2 * HUGE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?
    };
    // SAFETY: only how the memory may be mapped is said.
    unsafe { madvise(room, 2 * HUGE, Advice::LinuxNoHugepage)? };
    let start = room.addr().next_multiple_of(HUGE);
    populate_again(start)?;
    Ok(start)
}

/// Fills the memory, which takes `mmap_lock` for reading for a long time, and drops it again.
fn populate_again(start: usize) -> io::Result<()> {
    let start = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the memory is of `populate_new`, which gave it to one thread; nothing refers to it.
    unsafe {
        madvise(start, BUSY, Advice::LinuxPopulateWrite)?;
        madvise(start, BUSY, Advice::LinuxDontNeed)?;
    }
    Ok(())
}
