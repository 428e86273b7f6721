//! What is unsafe here: memory by its address, forks, signals.
//!
//! Everything that a scenario does to memory, it does within [`memory::REGION`], where nothing of Rust ever lies; so nothing
//! here can pull away what a reference points to. The other modules have no `unsafe`.

pub(crate) mod access;
pub(crate) mod disk;
pub(crate) mod held;
pub(crate) mod keeper;
pub(crate) mod kvm;
pub(crate) mod memory;
pub(crate) mod pipe;
pub(crate) mod proc_mem;
pub(crate) mod process;
pub(crate) mod remote;
pub(crate) mod ring;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod slot;
pub(crate) mod uffd;

pub(crate) use memory::Address;

use rustix::io::Errno;

/// What a system call of libc returned.
fn result(returned: libc::c_int) -> Result<(), Errno> {
    if returned == -1 { Err(errno()) } else { Ok(()) }
}

/// The error of the call that has just failed.
fn errno() -> Errno {
    let number = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or_default();
    Errno::from_raw_os_error(number)
}
