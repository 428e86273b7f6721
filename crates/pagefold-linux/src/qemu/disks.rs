//! The disks of a guest: one for swap, one for files. They are memory of this process's; nothing is left of them.
//!
//! They are namespaces of one NVMe controller, as distributions' kernels have that driver built in. A kernel without it runs what needs no disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::sys::disk;
use crate::sys::memory::PAGE;

const SWAP_BYTES: u64 = 512 << 20;
const FILES_BYTES: u64 = 256 << 20;

/// Where programs keep temporary files that are not in memory.
const PLACE: &str = "/var/tmp";

/// How often, and after what time, the guest looks whether a disk was found. An emulated machine on a busy host takes seconds to find it.
const LOOKS: u32 = 1000;
const LOOK: Duration = Duration::from_millis(20);

/// What is known by the same name in QEMU; the second one is the number of the namespace.
const SWAP: (&str, u32) = ("swap", 1);
const FILES: (&str, u32) = ("files", 2);

/// The disks, seen from the host.
#[derive(Debug)]
pub(super) struct Disks {
    swap: File,
    files: Option<File>,
}

impl Disks {
    /// Makes them; that for files only if there is a program that lays out a file system.
    pub(super) fn new() -> io::Result<Self> {
        let swap = image(SWAP, SWAP_BYTES)?;
        write_swap_header(&swap)?;
        let files = image(FILES, FILES_BYTES)?;
        let files = lay_out(&files)?.then_some(files);
        Ok(Self { swap, files })
    }

    /// What the guest is told of them.
    pub(super) fn here(&self) -> Here {
        Here {
            files: self.files.is_some(),
        }
    }

    /// Each, and what QEMU calls it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&File, (&'static str, u32))> {
        let files = self.files.iter().map(|files| (files, FILES));
        [(&self.swap, SWAP)].into_iter().chain(files)
    }
}

fn image((name, _): (&str, u32), bytes: u64) -> io::Result<File> {
    let image = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    image.set_len(bytes)?;
    Ok(image)
}

/// What `mkswap` writes: a version, the number of the last page and that of bad ones, and at the end of the page a word by which
/// it is known.
fn write_swap_header(image: &File) -> io::Result<()> {
    let mut page = [0; PAGE];
    let last = (SWAP_BYTES / PAGE as u64 - 1) as u32;
    page[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
    page[1028..1032].copy_from_slice(&last.to_ne_bytes());
    page[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    image.write_all_at(&page, 0)
}

/// Whether there is a file system then.
fn lay_out(image: &File) -> io::Result<bool> {
    let directories = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut programs = directories
        .iter()
        .map(|directory| directory.join("mkfs.ext4"));
    let Some(program) = programs.find(|program| program.is_file()) else {
        return Ok(false);
    };
    let path = format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd());
    let status = Command::new(program)
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal", &path])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// The disks, seen from the guest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Here {
    files: bool,
}

impl Here {
    /// Takes them into use. What is missing then, is missed by who needs it.
    ///
    /// Linux from 6.12 looks for both at once, and gives numbers as it finds them: so what each is for, its content says.
    pub(super) fn attach(self) {
        let _ = std::fs::create_dir_all(PLACE);
        for number in 1..=1 + u32::from(self.files) {
            let Some(device) = device(number) else { return };
            if disk::swap_on(&device).is_err() {
                let _: Result<(), Errno> = mount(&device, PLACE, "ext4", MountFlags::empty(), None);
            }
        }
    }
}

/// The file of a disk, if the kernel has found it.
fn device(number: u32) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/dev/nvme0n{number}"));
    let has_driver = Path::new("/sys/bus/pci/drivers/nvme").is_dir();
    for _ in 0..LOOKS {
        if path.exists() || !has_driver {
            break;
        }
        thread::sleep(LOOK);
    }
    path.exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_disk_is_known_by_its_first_page() {
        let image = image(SWAP, SWAP_BYTES).unwrap();
        write_swap_header(&image).unwrap();
        let mut page = [0; PAGE];
        image.read_exact_at(&mut page, 0).unwrap();
        assert!(page.ends_with(b"SWAPSPACE2"));
        assert_eq!(page[1024..1028], 1_u32.to_ne_bytes());
        let last = u32::from_ne_bytes(page[1028..1032].try_into().unwrap());
        assert_eq!((u64::from(last) + 1) * PAGE as u64, SWAP_BYTES);
        assert!(page[..1024].iter().all(|byte| *byte == 0));
    }
}
