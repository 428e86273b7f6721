//! Loads and stores that may fault.
//!
//! Each is one instruction with a name. If it raises SIGSEGV or SIGBUS, the handler lets the function return with the
//! signal, instead of executing the instruction again. A signal from anywhere else ends the process, as it would without.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;

use rustix::io::Errno;

use super::{Address, result};

std::arch::global_asm!(
    // In: rdi, the address. Out: rax, the content; rdx, how it ended.
    ".globl pagefold_linux_load",
    ".globl pagefold_linux_store",
    ".globl pagefold_linux_faulted",
    "pagefold_linux_load:",
    "mov rax, [rdi]",
    "xor edx, edx",
    "ret",
    // In: rdi, the address; rsi, the content. An exchange, so that no store buffer lets a later load overtake it: what
    // the model knows of programs' stores.
    "pagefold_linux_store:",
    "xchg [rdi], rsi",
    "xor edx, edx",
    "ret",
    // Where the handler goes on, with rdx set.
    "pagefold_linux_faulted:",
    "ret",
);

/// Two registers.
#[repr(C)]
struct Done {
    value: u64,
    signal: u64,
}

unsafe extern "C" {
    fn pagefold_linux_load(address: *const c_void) -> Done;
    fn pagefold_linux_store(address: *const c_void, value: u64) -> Done;
    fn pagefold_linux_faulted();
}

/// The signal that an access ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGSEGV.
    Segv,
    /// SIGBUS.
    Bus,
    /// SIGBUS for a page that is marked as broken.
    Poison,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Segv, Self::Bus, Self::Poison];
}

/// Reads a word.
pub(crate) fn load(address: Address) -> Result<u64, Signal> {
    // SAFETY: the function reads a word and touches nothing else; if there is none, the handler makes it return.
    let done = unsafe { pagefold_linux_load(address.pointer()) };
    outcome(&done)?;
    Ok(done.value)
}

/// Writes a word.
pub(crate) fn store(address: Address, value: u64) -> Result<(), Signal> {
    // SAFETY: the address is in the region, where nothing of Rust lies; if nothing is there, the handler makes it return.
    let done = unsafe { pagefold_linux_store(address.pointer(), value) };
    outcome(&done)
}

fn outcome(done: &Done) -> Result<(), Signal> {
    match Signal::ALL.get((done.signal as usize).wrapping_sub(1)) {
        Some(signal) => Err(*signal),
        None => Ok(()),
    }
}

/// Lets hardware walk to an address, which never faults.
pub(crate) fn prefetch(address: Address) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint has no effect but on caches.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.pointer().cast::<i8>()) };
}

/// Makes accesses that fault return. For this process and those that it forks.
pub(crate) fn catch_faults() -> Result<(), Errno> {
    // SAFETY: zeroes are no flags, an empty mask and no handler.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler looks at its arguments and changes registers only at instructions of this module.
        result(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives both for a handler with `SA_SIGINFO`, and takes the registers from there when it returns.
    let (info, registers) = unsafe { (&*info, &mut (*context).uc_mcontext.gregs) };
    let at = registers[libc::REG_RIP as usize] as usize;
    let load: unsafe extern "C" fn(*const c_void) -> Done = pagefold_linux_load;
    let store: unsafe extern "C" fn(*const c_void, u64) -> Done = pagefold_linux_store;
    if at == load as usize || at == store as usize {
        let ended = match signal {
            libc::SIGSEGV => Signal::Segv,
            _ if info.si_code == libc::BUS_MCEERR_AR => Signal::Poison,
            _ => Signal::Bus,
        };
        registers[libc::REG_RDX as usize] = ended as i64 + 1;
        let faulted: unsafe extern "C" fn() = pagefold_linux_faulted;
        registers[libc::REG_RIP as usize] = faulted as usize as i64;
        return;
    }
    // Not ours. When the instruction is executed again, the signal does what it does to others.
    // SAFETY: no memory is touched.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
