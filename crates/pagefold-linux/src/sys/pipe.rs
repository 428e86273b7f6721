//! Pages that a pipe has references to (`FOLL_GET`), by vmsplice.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};

use super::memory::Address;
use super::result;

/// Bytes in a word.
const WORD: usize = size_of::<u64>();

/// A pipe with a reference to the page at an address: the end that its word can be read from.
pub(crate) fn hold(address: Address) -> Result<OwnedFd, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let slice = libc::iovec {
        iov_base: address.pointer(),
        iov_len: WORD,
    };
    // SAFETY: memory is only read, now and later; where nothing is mapped, there is an error.
    let bytes = unsafe { libc::vmsplice(writer.as_raw_fd(), &raw const slice, 1, 0) };
    result(if bytes == -1 { -1 } else { 0 })?;
    Ok(reader)
}

/// Reads the word, and gives the reference up.
pub(crate) fn read(reader: impl AsFd) -> Result<u64, Errno> {
    let mut word = [0; WORD];
    match rustix::io::read(reader, &mut word)? {
        WORD => Ok(u64::from_ne_bytes(word)),
        _ => Err(Errno::IO),
    }
}

/// Reads the word by another reference to the same page, so that the pipe keeps its own.
pub(crate) fn peek(reader: impl AsFd) -> Result<u64, Errno> {
    let (again, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    tee(reader, writer, WORD, SpliceFlags::empty())?;
    read(again)
}
