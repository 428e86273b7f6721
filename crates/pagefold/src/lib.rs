//! pagefold: live collapse of the small pages of an object into a huge page, and lock-free retraction of the emptied
//! page tables from every process that maps it.
//!
//! The engine of Linux' `mm/khugepaged.c` and of everything around it that makes it correct, as a library for kernels,
//! hypervisors and emulators. It is generic over the machine it runs on, see [`Platform`].
//!
//! Where to begin reading: [`collapse`] for what it does, [`page_table`] and [`collapse::retract`] for why that is safe,
//! [`lock_order`] for all locks in order, [`protocol`] for the versions of the rules and the safeguards they are made of.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod accounting;
pub mod addr;
pub mod arch;
pub mod collapse;
pub mod fault;
pub mod filemap;
pub mod folio;
pub mod fork;
pub mod frame;
pub mod gup;
pub mod handle;
mod huge;
pub mod kvm;
pub mod lock_order;
pub mod madvise;
pub mod migrate;
pub mod mm;
pub mod mmap;
pub mod mprotect;
pub mod mremap;
pub mod notifier;
pub mod oom;
pub mod page_cache;
pub mod page_table;
pub mod platform;
pub mod protocol;
pub mod reclaim;
pub mod rmap;
pub mod step;
pub mod swap;
mod sync;
mod tlb;
pub mod truncate;
pub mod userfault;
pub mod vma;
mod zap;
mod zero;

pub use handle::Ref;
pub use platform::Platform;
pub use zero::is_zero_page;
