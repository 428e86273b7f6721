//! `/proc/self/mem`: what debuggers use, who are not asked what a mapping allows.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::Address;

/// Reads a word of this process.
pub(crate) fn read(address: Address) -> Result<u64, Errno> {
    let mut word = [0; size_of::<u64>()];
    let result = OpenOptions::new()
        .read(true)
        .open("/proc/self/mem")
        .and_then(|memory| memory.read_exact_at(&mut word, address.get() as u64));
    result.map_err(errno)?;
    Ok(u64::from_ne_bytes(word))
}

/// Writes a word of this process.
pub(crate) fn write(address: Address, word: u64) -> Result<(), Errno> {
    OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")
        .and_then(|memory| memory.write_all_at(&word.to_ne_bytes(), address.get() as u64))
        .map_err(errno)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
