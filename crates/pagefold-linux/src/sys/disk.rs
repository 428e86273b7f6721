//! Files on a disk, without names: nothing of them is left, whatever happens. And disks that pages are moved out to.

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::memory::{Address, PAGE};
use super::{errno, result};

/// File systems that are memory and no disk (`statfs`).
const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Bytes that a disk reads or writes at least.
const SECTOR: usize = 512;

/// A new empty file, for reading and writing, past the page cache if it is `direct`.
pub(crate) fn unnamed_file(direct: bool) -> Result<File, Errno> {
    let mut flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if direct {
        flags |= OFlags::DIRECT;
    }
    let directories = [env::temp_dir(), PathBuf::from("/var/tmp")];
    let mut files = directories.iter().map(|directory| {
        let file = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?;
        let system = rustix::fs::fstatfs(&file)?.f_type;
        if MEMORY.contains(&(system as i64)) {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(File::from(file))
    });
    files.find_map(Result::ok).ok_or(Errno::OPNOTSUPP)
}

/// The same file, opened once more.
pub(crate) fn reopen(file: &File, flags: OFlags) -> Result<File, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = rustix::fs::open(Path::new(&path), flags | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(again))
}

/// Sectors of a file that is read and written past the page cache, so that the kernel pins the memory meanwhile.
#[derive(Debug)]
pub(crate) struct Sectors(File);

/// What a sector holds.
#[repr(align(4096))]
struct Sector([u64; SECTOR / 8]);

impl Sectors {
    /// So many sectors.
    const COUNT: usize = 1024;

    /// A new file.
    pub(crate) fn new() -> Result<Self, Errno> {
        let sectors = Self(unnamed_file(true)?);
        let page = [Sector([0; SECTOR / 8]), Sector([0; SECTOR / 8])];
        // They have their places on the disk from the start, so that no other write waits for that.
        for sector in 0..Self::COUNT {
            sectors.write(sector, page[0].0.as_ptr().expose_provenance())?;
        }
        Ok(sectors)
    }

    /// Reads a word of memory by a pin of its page.
    pub(crate) fn read_pinned(&self, sector: u32, address: Address) -> Result<u64, Errno> {
        let sector = sector as usize % Self::COUNT;
        self.write(sector, address.get())?;
        let mut copy = Sector([0; SECTOR / 8]);
        self.read(sector, copy.0.as_mut_ptr().expose_provenance())?;
        Ok(copy.0[0])
    }

    /// Writes a word of memory by a pin of its page.
    pub(crate) fn write_pinned(
        &self,
        sector: u32,
        address: Address,
        word: u64,
    ) -> Result<(), Errno> {
        let sector = sector as usize % Self::COUNT;
        let mut source = Sector([0; SECTOR / 8]);
        source.0[0] = word;
        self.write(sector, source.0.as_ptr().expose_provenance())?;
        self.read(sector, address.get())
    }

    fn write(&self, sector: usize, from: usize) -> Result<(), Errno> {
        let from = std::ptr::with_exposed_provenance(from);
        // SAFETY: memory is only read; where nothing is mapped, there is an error.
        let written = unsafe { libc::pwrite(self.0.as_raw_fd(), from, SECTOR, offset(sector)) };
        whole(written)
    }

    fn read(&self, sector: usize, to: usize) -> Result<(), Errno> {
        let to = std::ptr::with_exposed_provenance_mut(to);
        // SAFETY: the callers give a sector of their own, or an address in the region, where nothing of Rust lies; where nothing
        // is mapped, there is an error.
        let read = unsafe { libc::pread(self.0.as_raw_fd(), to, SECTOR, offset(sector)) };
        whole(read)
    }
}

/// Each sector is in a page of the file of its own.
fn offset(sector: usize) -> libc::off_t {
    (sector * PAGE) as libc::off_t
}

fn whole(bytes: isize) -> Result<(), Errno> {
    match bytes {
        -1 => Err(errno()),
        bytes if bytes == SECTOR as isize => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Writes pages of a file that begin with a word.
pub(crate) fn write_pages(file: &File, start: usize, bytes: usize, word: u64) -> Result<(), Errno> {
    let mut page = [0_u64; PAGE / 8];
    page[0] = word;
    let slice = libc::iovec {
        iov_base: page.as_mut_ptr().cast(),
        iov_len: PAGE,
    };
    let slices = [slice; PER_CALL];
    let mut done = 0;
    while done < bytes {
        let count = ((bytes - done) / PAGE).min(PER_CALL);
        let at = (start + done) as libc::off_t;
        // SAFETY: each slice is the page, which is only read.
        let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr(), count as i32, at) };
        done += usize::try_from(written).map_err(|_| errno())?;
    }
    Ok(())
}

/// Pages that one call writes.
const PER_CALL: usize = 128;

/// Lets the kernel move pages out to a device, whose first page says that it may.
pub(crate) fn swap_on(device: &Path) -> Result<(), Errno> {
    let path = CString::new(device.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path ends with a zero, and the call touches no memory of this process.
    result(unsafe { libc::swapon(path.as_ptr(), 0) })
}
