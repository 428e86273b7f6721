//! The running kernel: its version, its log, and whether it has what scenarios need.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use linux_raw_sys::general::{MADV_COLLAPSE, MADV_POPULATE_READ};
use pagefold::protocol::Protocol;
use pagefold_litmus::{Advice, Call, ObjectKind, Scenario};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::kernel_log::{self, Complaint};
use crate::plan::{self, Memory, Program, modes};
use crate::sys::Address;
use crate::sys::disk;
use crate::sys::kvm;
use crate::sys::memory::{self, HUGE, Pages};
use crate::sys::ring::Ring;
use crate::sys::settings;
use crate::sys::uffd::{Modes, Userfaultfd};

/// Where the kernel says what it makes huge pages of.
const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// The first version with `MADV_COLLAPSE`.
const COLLAPSE: Version = Version(6, 1);

/// A version of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// What a release begins with: `6.18.44-cloud`.
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self(next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What `uname` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The release in full.
    pub release: String,
    /// Its version.
    pub version: Version,
}

impl Kernel {
    /// The kernel that this program runs on.
    ///
    /// # Errors
    /// If its release does not begin with a version.
    pub fn running() -> Result<Self, String> {
        Self::of(&rustix::system::uname().release().to_string_lossy())
    }

    /// A kernel that says this of itself.
    ///
    /// # Errors
    /// If its release does not begin with a version.
    pub fn of(release: &str) -> Result<Self, String> {
        match Version::parse(release) {
            Some(version) => Ok(Self {
                release: release.to_owned(),
                version,
            }),
            None => Err(format!("`{release}` is no version of Linux")),
        }
    }

    /// The protocol that describes it: the newest that is not newer. What is older than all has that of the oldest.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let mut versions: Vec<(Version, Protocol)> = Protocol::ALL
            .iter()
            .filter_map(|protocol| {
                let version = Version::parse(protocol.name.strip_prefix("linux-")?)?;
                Some((version, *protocol))
            })
            .collect();
        versions.sort_by_key(|(version, _)| *version);
        let fitting = versions
            .iter()
            .rev()
            .find(|(version, _)| *version <= self.version);
        fitting
            .or(versions.first())
            .map_or(Protocol::DEFAULT, |(_, protocol)| *protocol)
    }

    /// Whether every protocol describes a newer one.
    #[must_use]
    pub fn is_older_than_all(&self) -> bool {
        let described = |protocol: &Protocol| Version::parse(protocol.name.strip_prefix("linux-")?);
        let versions = Protocol::ALL.iter().filter_map(described);
        versions.min().is_some_and(|oldest| self.version < oldest)
    }

    /// What is missing for any scenario.
    pub(crate) fn lacks(&self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("not root: page maps and userfaultfd are for root".to_owned());
        }
        if self.version < COLLAPSE {
            return Some(format!(
                "Linux {} has no MADV_COLLAPSE, which came with {COLLAPSE}",
                self.version
            ));
        }
        if fs::metadata(THP).is_err() {
            return Some("a kernel without CONFIG_TRANSPARENT_HUGEPAGE".to_owned());
        }
        None
    }

    /// What is missing for this program.
    pub(crate) fn lacks_for(&self, program: &Program<'_>) -> Option<String> {
        let scenario = program.scenario;
        let calls = plan::calls(scenario);
        for (what, since) in calls.filter_map(|call| newer(scenario, call)) {
            if self.version < since {
                let version = self.version;
                return Some(format!(
                    "Linux {version} has no {what}, which came with {since}"
                ));
            }
        }
        if let Some(what) = lacks_storage(program) {
            return Some(what);
        }
        if program.pins_long()
            && let Err(error) = Ring::new()
        {
            return Some(format!(
                "io_uring, by whose fixed buffers pages are pinned for long: {error}"
            ));
        }
        for mapping in 0..scenario.mappings.len() {
            let mapping = pagefold_litmus::MappingId::new(mapping);
            let (file, unfit) = match Memory::of(scenario, mapping) {
                Memory::Anonymous => ("enabled", &["always"][..]),
                Memory::Object { object, .. }
                    if scenario.objects[object].kind == ObjectKind::File =>
                {
                    continue;
                }
                // It is set for the scenario, or is what it should be.
                Memory::Object { .. } if scenario.shmem_denied => continue,
                Memory::Object { .. } => (
                    "shmem_enabled",
                    &["always", "within_size", "force", "deny"][..],
                ),
            };
            let set = chosen(file);
            if let Some(set) = set.filter(|set| unfit.contains(&set.as_str())) {
                return Some(if set == "deny" {
                    format!("{THP}/{file} is `deny`, so that nothing is collapsed")
                } else {
                    format!(
                        "{THP}/{file} is `{set}`, so that there are huge pages without a collapse: write `{}` there",
                        if file == "enabled" {
                            "madvise"
                        } else {
                            "advise"
                        }
                    )
                });
            }
        }
        let mut mms = 0..scenario.mms.len();
        if mms.any(|mm| program.runs_guest(mm))
            && let Err(what) = kvm::trial()
        {
            return Some(what);
        }
        if program.uses_uffd {
            for modes in wanted_modes(scenario) {
                if let Err(error) = Userfaultfd::default().open(modes) {
                    return Some(format!("a userfaultfd with {modes}: {error}"));
                }
            }
        }
        None
    }
}

/// What is missing to keep pages elsewhere than in memory.
fn lacks_storage(program: &Program<'_>) -> Option<String> {
    let scenario = program.scenario;
    let has_files = scenario
        .objects
        .iter()
        .any(|object| object.kind == ObjectKind::File);
    if has_files && disk::unnamed_file(false).is_err() {
        return Some("a temporary directory on a disk: /tmp and /var/tmp are on none".to_owned());
    }
    if program.collapses_files() && !makes_huge_pages_of_files() {
        return Some(
            "a kernel with CONFIG_READ_ONLY_THP_FOR_FS, which makes huge pages of files on a disk"
                .to_owned(),
        );
    }
    if program.pins_fast() && disk::unnamed_file(true).is_err() {
        return Some(
            "a temporary directory whose files can be read past the page cache (O_DIRECT), by which pages are pinned"
                .to_owned(),
        );
    }
    let swaps = fs::read_to_string("/proc/swaps").map_or(0, |text| text.lines().count());
    // The first line has titles.
    if program.swaps() && swaps < 2 {
        return Some("swap, where pages go that no disk has".to_owned());
    }
    None
}

/// Tries it.
fn makes_huge_pages_of_files() -> bool {
    let pages = Pages::new(Address::new(0), HUGE);
    let collapse = || -> Result<(), Errno> {
        let writer = disk::unnamed_file(false)?;
        disk::write_pages(&writer, 0, HUGE, 0)?;
        rustix::fs::fsync(&writer)?;
        let file = disk::reopen(&writer, OFlags::RDONLY)?;
        // What is open for writing is not collapsed.
        drop(writer);
        memory::mmap(pages, memory::Source::ReadOnly(&file))?;
        memory::madvise(pages, MADV_POPULATE_READ)?;
        memory::madvise(pages, MADV_COLLAPSE)
    };
    let collapsed = collapse().is_ok();
    // Where nothing was mapped, nothing is taken away.
    let _ = memory::munmap(pages);
    collapsed
}

/// Whether the administrator denies huge pages of shmem.
pub(crate) fn denies_shmem() -> bool {
    chosen("shmem_enabled").is_some_and(|set| set == "deny")
}

/// Whether the signal for an access to a poisoned page says so: the kernel has the settings of `CONFIG_MEMORY_FAILURE`.
pub(crate) fn tells_of_poison() -> bool {
    fs::exists("/proc/sys/vm/memory_failure_recovery").unwrap_or(false)
}

/// The setting that is chosen in a file of `/sys`: the one in brackets.
fn chosen(file: &str) -> Option<String> {
    let text = fs::read_to_string(format!("{THP}/{file}")).ok()?;
    Some(settings::chosen(&text).to_owned())
}

/// The modes of all userfaultfds, or else the simplest.
fn wanted_modes(scenario: &Scenario) -> Vec<Modes> {
    let from_start = scenario.mappings.iter().filter_map(|mapping| mapping.uffd);
    let registered = plan::calls(scenario).filter_map(|call| match call {
        Call::UffdRegister(_, modes) => Some(*modes),
        _ => None,
    });
    let asked = from_start.chain(registered);
    asked.map(modes).chain([Modes::default()]).collect()
}

/// What a call asks for that came after the oldest kernel that can run scenarios, and with which version.
fn newer(scenario: &Scenario, call: &Call) -> Option<(&'static str, Version)> {
    match call {
        Call::Madvise(range, Advice::GuardInstall | Advice::GuardRemove) => {
            Some(match Memory::of(scenario, range.mapping) {
                Memory::Anonymous => ("guard regions", Version(6, 13)),
                Memory::Object { .. } => ("guard regions in objects", Version(6, 15)),
            })
        }
        Call::UffdioPoison(_) => Some(("UFFDIO_POISON", Version(6, 6))),
        Call::UffdioMove(..) => Some(("UFFDIO_MOVE", Version(6, 8))),
        Call::GupFast(_) | Call::GupFastWrite(..) => Some(("pins by direct I/O", Version(6, 5))),
        _ => None,
    }
}

/// The kernel's log from now on.
#[derive(Debug)]
pub(crate) struct Log(Option<File>);

impl Log {
    /// Begins to listen. Where the log cannot be read, nothing is heard.
    pub(crate) fn listen() -> Self {
        let open = || -> io::Result<File> {
            let mut options = File::options();
            options
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits() as i32);
            let mut file = options.open("/dev/kmsg")?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        Self(open().ok())
    }

    /// What it complained of meanwhile, whoever made it do so.
    pub(crate) fn complaints(&mut self) -> Vec<Complaint> {
        let mut log = String::new();
        // Each read gives one record.
        let mut record = [0; 8192];
        while let Some(file) = &mut self.0 {
            match file.read(&mut record) {
                Ok(bytes @ 1..) => {
                    let record = String::from_utf8_lossy(&record[..bytes]);
                    log.push_str(&kernel_log::text_of(&record));
                }
                // Records were overwritten before they were read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Ok(0) | Err(_) => break,
            }
        }
        kernel_log::complaints(&log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(release: &str) -> &'static str {
        Kernel::of(release).unwrap().protocol().name
    }

    #[test]
    fn a_kernel_has_the_newest_protocol_that_is_not_newer() {
        assert_eq!(protocol("6.1.0-41-amd64"), "linux-6.4");
        assert_eq!(protocol("6.5.3"), "linux-6.4");
        assert_eq!(protocol("6.8.12"), "linux-6.6");
        assert_eq!(protocol("6.10.14"), "linux-6.9");
        assert_eq!(protocol("6.11.0"), "linux-6.11");
        assert_eq!(protocol("6.12.117"), "linux-6.12");
        assert_eq!(protocol("6.18.44-fc-v669"), "linux-6.14");
        assert_eq!(Version::parse("next"), None);
        assert!(Kernel::of("6.1.0-41-amd64").unwrap().is_older_than_all());
        assert!(!Kernel::of("6.5.3").unwrap().is_older_than_all());
    }
}
