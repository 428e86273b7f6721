//! A tracing instance of our own, in which the kernel notes what a collapse does.
//!
//! The global buffer, its settings and everybody else's instances are left alone. If tracefs is not mounted, it is mounted where this
//! process alone sees it. The instance is gone when this process is, however it ends: a [`Keeper`] takes it away.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::sys::keeper::Keeper;
use crate::sys::process;

/// Where tracefs is mounted.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What instances of this program are called; the number of the process follows.
const NAME: &str = "pagefold-";

/// What is noted, as far as the kernel has it.
const EVENTS: [&str; 7] = [
    "huge_memory/mm_collapse_huge_page",
    "huge_memory/mm_collapse_huge_page_isolate",
    "huge_memory/mm_khugepaged_collapse_file",
    "huge_memory/mm_khugepaged_scan_file",
    "huge_memory/mm_khugepaged_scan_pmd",
    "kvm/kvm_unmap_hva_range",
    "tlb/tlb_flush",
];

/// The buffer of each CPU, in KiB. A collapse takes some thousand events of less than a hundred bytes.
const BUFFER: &str = "2048";

/// A trace is not longer than this.
const LONGEST: u64 = 64 << 20;

/// How often is tried to remove an instance that somebody who is about to end still uses, and after what time.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// An instance.
#[derive(Debug)]
pub(crate) struct Instance {
    directory: PathBuf,
    /// What is written here stands among the events.
    pub(crate) marker: File,
    /// The names of the events that this kernel has.
    pub(crate) enabled: Vec<String>,
    _keeper: Keeper,
}

impl Instance {
    /// Makes one. No two processes do so at the same time.
    pub(crate) fn new() -> Result<Self, String> {
        let tracefs = tracefs()?;
        let instances = tracefs.join("instances");
        remove_old(&instances);
        let directory = instances.join(format!("{NAME}{}", std::process::id()));
        let at = directory.clone();
        let keeper = Keeper::new(|| remove(&at)).map_err(|error| error.to_string())?;
        let make = || -> io::Result<Self> {
            fs::create_dir(&directory)?;
            fs::write(directory.join("buffer_size_kb"), BUFFER)?;
            // Of this process, and of those that it forks.
            fs::write(directory.join("options/event-fork"), "1")?;
            fs::write(
                directory.join("set_event_pid"),
                std::process::id().to_string(),
            )?;
            let mut enabled = Vec::new();
            for event in EVENTS {
                if fs::write(directory.join("events").join(event).join("enable"), "1").is_ok() {
                    let (_, name) = event.split_once('/').unwrap_or(("", event));
                    enabled.push(name.to_owned());
                }
            }
            let marker = File::options()
                .write(true)
                .open(directory.join("trace_marker"))?;
            Ok(Self {
                directory: directory.clone(),
                marker,
                enabled,
                _keeper: keeper,
            })
        };
        make().map_err(|error| format!("{}: {error}", directory.display()))
    }

    /// What was noted since the last time.
    pub(crate) fn take(&self) -> io::Result<String> {
        let path = self.directory.join("trace");
        let mut text = String::new();
        File::open(&path)?.take(LONGEST).read_to_string(&mut text)?;
        // Opened for writing, it is emptied.
        File::create(&path)?;
        Ok(text)
    }
}

/// Where tracefs is.
fn tracefs() -> Result<PathBuf, String> {
    let find = || {
        let mut places = PLACES.iter().map(PathBuf::from);
        places.find(|place| place.join("instances").is_dir())
    };
    if let Some(place) = find() {
        return Ok(place);
    }
    let [place, _] = PLACES;
    if !Path::new(place).is_dir() {
        return Err("a kernel with tracefs (CONFIG_FTRACE)".to_owned());
    }
    process::mount_for_us_alone("tracefs", place)
        .map_err(|error| format!("tracefs on {place}: {error}"))?;
    find().ok_or_else(|| "a tracefs with instances".to_owned())
}

/// Removes what a process has left whose keeper was ended as well.
fn remove_old(instances: &Path) {
    let entries = fs::read_dir(instances).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(NAME) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn remove(directory: &Path) {
    let _ = fs::write(directory.join("events/enable"), "0");
    for _ in 0..TRIES {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            _ => return,
        }
    }
}

/// Notes something among the events.
pub(crate) fn mark(marker: &File, what: &str) {
    let mut marker = marker;
    let _ = marker.write_all(what.as_bytes());
}
