//! Collapses, and what they do to another process.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::delay::Waits;
use crate::mapper::{self, COUNT, HUGE};

/// The other process is ready within this.
const MAP: Duration = Duration::from_secs(20);

/// khugepaged has done what it is going to do within this.
const SCAN: Duration = Duration::from_secs(30);

/// What came of it on one kernel: tables that were taken from the other process, out of [`COUNT`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    release: String,
    /// By MADV_COLLAPSE in this process.
    madvise: Loads<Called>,
    /// By khugepaged, which looks at this process. Only in a guest, as settings have to be changed for it.
    khugepaged: Option<Loads<usize>>,
    /// How long the other process has to wait.
    delays: Delays,
}

/// The longest waits of the other process while a huge page is collapsed; the ones in the middle of [`COUNT`].
#[derive(Debug, Serialize, Deserialize)]
struct Delays {
    /// As long, but nothing is collapsed.
    nothing: Waits,
    madvise: Waits,
    khugepaged: Option<Waits>,
}

/// With the other process idle, and busy.
#[derive(Debug, Serialize, Deserialize)]
struct Loads<T> {
    idle: T,
    busy: T,
}

/// What calls did.
#[derive(Debug, Serialize, Deserialize)]
struct Called {
    taken: usize,
    /// How long the one in the middle took.
    median: Duration,
}

impl Measured {
    /// As a line for [`Measured::parse`].
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// From a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// What the columns are.
    pub(crate) fn show_head() {
        println!("{:<34}   tables taken from the other process by", "");
        println!(
            "{:<34} {:^21} {:^21}   {:^21}",
            "", "MADV_COLLAPSE", "khugepaged", "time of MADV_COLLAPSE"
        );
        let loads = format!("{:>10} {:>10}", "idle", "busy");
        println!("{:<34} {loads} {loads}   {loads}", "kernel");
    }

    /// A row for people.
    pub(crate) fn show(&self, place: &str) {
        let kernel = format!("{} ({place})", self.release);
        let of = |taken: usize| format!("{taken} of {COUNT}");
        let Loads { idle, busy } = &self.madvise;
        let (scan_idle, scan_busy) = match &self.khugepaged {
            Some(Loads { idle, busy }) => (of(*idle), of(*busy)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!(
            "{kernel:<34} {:>10} {:>10} {scan_idle:>10} {scan_busy:>10}   {:>10.1?} {:>10.1?}",
            of(idle.taken),
            of(busy.taken),
            idle.median,
            busy.median
        );
    }

    /// What the columns of [`Self::show_waits`] are.
    pub(crate) fn show_waits_head() {
        println!("\n{:<34}   longest waits of the other process during", "");
        println!(
            "{:<34} {:^21} {:^21} {:^21}",
            "", "nothing", "MADV_COLLAPSE", "khugepaged"
        );
        let waits = format!("{:>10} {:>10}", "access", "mmap");
        println!("{:<34} {waits} {waits} {waits}", "kernel");
    }

    /// A row of how long the other process waits.
    pub(crate) fn show_waits(&self, place: &str) {
        let kernel = format!("{} ({place})", self.release);
        let Delays {
            nothing,
            madvise,
            khugepaged,
        } = &self.delays;
        let khugepaged = match khugepaged {
            Some(waits) => waits.to_string(),
            None => format!("{:>10} {:>10}", "-", "-"),
        };
        println!("{kernel:<34} {nothing} {madvise} {khugepaged}");
    }
}

/// Does it on this kernel. In a guest, khugepaged is set up for it.
pub(crate) fn measure(is_guest: bool) -> io::Result<Measured> {
    let madvise = Loads {
        idle: by_madvise("idle")?,
        busy: by_madvise("busy")?,
    };
    let (nothing, waits_madvise) = waits_by_madvise()?;
    let khugepaged = if is_guest {
        set_up_khugepaged()?;
        Some(Loads {
            idle: by_khugepaged("idle")?,
            busy: by_khugepaged("busy")?,
        })
    } else {
        None
    };
    let delays = Delays {
        nothing,
        madvise: waits_madvise,
        khugepaged: is_guest.then(waits_by_khugepaged).transpose()?,
    };
    Ok(Measured {
        delays,
        release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        madvise,
        khugepaged,
    })
}

/// An object, and where this process maps it.
fn object() -> io::Result<(File, usize)> {
    let object = File::from(rustix::fs::memfd_create("object", MemfdFlags::CLOEXEC)?);
    object.set_len((COUNT * HUGE) as u64)?;
    let start = mapper::map(&object)?;
    Ok((object, start))
}

fn by_madvise(load: &str) -> io::Result<Called> {
    let (object, start) = object()?;
    let other = Other::start(&object, load)?;
    let before = other.tables()?;
    let mut times = Vec::new();
    for index in 0..COUNT {
        let since = Instant::now();
        collapse(start + index * HUGE)?;
        times.push(since.elapsed());
    }
    times.sort_unstable();
    Ok(Called {
        taken: before.saturating_sub(other.tables()?),
        median: times[COUNT / 2],
    })
}

/// The waits while nothing is collapsed, and while the calls are made.
fn waits_by_madvise() -> io::Result<(Waits, Waits)> {
    let (object, start) = object()?;
    let mut other = Other::start(&object, "watched")?;
    let (mut nothing, mut called) = (Vec::new(), Vec::new());
    for index in 0..COUNT {
        other.waits(index)?;
        let since = Instant::now();
        collapse(start + index * HUGE)?;
        let took = since.elapsed();
        called.push(other.waits(index)?);
        thread::sleep(took);
        nothing.push(other.waits(index)?);
    }
    Ok((Waits::median(&nothing), Waits::median(&called)))
}

/// From one huge page to the next.
fn waits_by_khugepaged() -> io::Result<Waits> {
    let (object, start) = object()?;
    let mut other = Other::start(&object, "watched")?;
    let before = huge_pages()?;
    mapper::ask_for_huge_pages(start)?;
    other.waits(0)?;
    let mut times = Vec::new();
    for huge in 1..=COUNT {
        until(|| Ok(huge_pages()? >= before + huge))?;
        times.push(other.waits(huge % COUNT)?);
    }
    Ok(Waits::median(&times))
}

/// khugepaged scans without a pause, and takes objects that a process asks for, in processes that asked for it.
fn set_up_khugepaged() -> io::Result<()> {
    let settings = [
        ("enabled", "madvise"),
        ("shmem_enabled", "advise"),
        ("khugepaged/alloc_sleep_millisecs", "10"),
        ("khugepaged/pages_to_scan", "65536"),
        ("khugepaged/scan_sleep_millisecs", "10"),
    ];
    for (name, value) in settings {
        let path = format!("/sys/kernel/mm/transparent_hugepage/{name}");
        fs::write(&path, value).map_err(|error| with(&path, &error))?;
    }
    Ok(())
}

fn by_khugepaged(load: &str) -> io::Result<usize> {
    let (object, start) = object()?;
    let other = Other::start(&object, load)?;
    let before = other.tables()?;
    let huge = huge_pages()? + COUNT;
    mapper::ask_for_huge_pages(start)?;
    until(|| Ok(huge_pages()? >= huge))?;
    // The last one is huge before its tables are taken. Once khugepaged is through, all that it does is done.
    let scans = scans()?;
    until(|| Ok(self::scans()? != scans))?;
    Ok(before.saturating_sub(other.tables()?))
}

/// Waits for something that khugepaged brings about.
fn until(condition: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let since = Instant::now();
    while !condition()? {
        if since.elapsed() > SCAN {
            return Err(io::Error::other("khugepaged does not collapse the object"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// How often khugepaged has been through all processes.
fn scans() -> io::Result<String> {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans")
}

/// How many huge pages objects have, in the whole system: in a guest there are only ours.
fn huge_pages() -> io::Result<usize> {
    Ok(kilobytes("/proc/meminfo", "ShmemHugePages:")? / (HUGE >> 10))
}

/// A line of a file of the kernel's that says how many kB something has.
fn kilobytes(path: &str, name: &str) -> io::Result<usize> {
    fs::read_to_string(path)?
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other(format!("no {name} in {path}")))
}

/// MADV_COLLAPSE of one huge page of [`mapper::map`]'s mapping. What is in its way for a moment only may be so a few times.
fn collapse(address: usize) -> io::Result<()> {
    let address = ptr::with_exposed_provenance_mut(address);
    for _ in 0..10 {
        // SAFETY: the call changes how the memory is mapped and not what is in it.
        if unsafe { libc::madvise(address, HUGE, libc::MADV_COLLAPSE) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(with("MADV_COLLAPSE", &error));
        }
    }
    Err(io::Error::other("MADV_COLLAPSE fails again and again"))
}

/// The process that maps the object, too. It ends with this value.
struct Other {
    child: Child,
    /// What it says after it has said that it is ready.
    answers: mpsc::Receiver<String>,
}

impl Other {
    fn start(object: &File, load: &str) -> io::Result<Self> {
        let object = format!("/proc/{}/fd/{}", std::process::id(), object.as_raw_fd());
        let mut child = Command::new("/proc/self/exe")
            .args(["map", &object, load])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("it was asked for");
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Until nobody listens any more.
            let _ = lines.map(|line| sender.send(line)).find(Result::is_err);
        });
        let other = Self { child, answers };
        match other.answers.recv_timeout(MAP) {
            Ok(line) if line == "mapped" => Ok(other),
            _ => Err(io::Error::other(
                "the other process could not map the object",
            )),
        }
    }

    /// Its longest waits since it was last asked; from now on it goes round the huge page `next`. Only if it is watched.
    fn waits(&mut self, next: usize) -> io::Result<Waits> {
        let stdin = self.child.stdin.as_mut().expect("it was asked for");
        stdin.write_all(format!("{next}\n").as_bytes())?;
        let line = self.answers.recv_timeout(MAP).map_err(io::Error::other)?;
        Waits::parse(&line).ok_or_else(|| io::Error::other(line))
    }

    /// How many page tables it has.
    fn tables(&self) -> io::Result<usize> {
        let status = format!("/proc/{}/status", self.child.id());
        Ok(kilobytes(&status, "VmPTE:")? / 4)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
