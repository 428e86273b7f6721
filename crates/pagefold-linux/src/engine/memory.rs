//! Accesses, mappings, and what reads and writes memory on behalf of a process.

use pagefold::Ref;
use pagefold::addr::{PageIndex, Pfn, VirtAddr};
use pagefold::fault::FaultError;
use pagefold::mm::Mm;
use pagefold::mmap::{Backing as Mapped, Sharing as Shared};
use pagefold::platform::Word;
use pagefold::{filemap, gup, mmap, mremap};
use pagefold_litmus::{Backing, MappingId, MappingPage, MappingRange, Sharing, Symbol};
use pagefold_machine::host::{Host, HostCpu};

use super::calls::mapped;
use super::{Engine, Reach};
use crate::report::Seen;

pub(super) fn write_frame(pfn: Pfn, value: u64) {
    Host::page(pfn)[0].write_once(value);
}

pub(super) fn read_frame(pfn: Pfn) -> u64 {
    Host::page(pfn)[0].read_once()
}

/// The signal that an access ends in.
fn signal(error: &FaultError<Host>) -> Seen {
    match error {
        FaultError::SigSegv => Symbol::SIGSEGV.into(),
        FaultError::SigBus => Symbol::SIGBUS.into(),
        FaultError::HwPoison => Symbol::HWPOISON.into(),
        FaultError::OutOfMemory => Symbol::ENOMEM.into(),
        FaultError::Userfault(..) | FaultError::NeedsMmapLock => {
            unreachable!("`handle_user_fault` does not return these")
        }
    }
}

/// What a system call gives that could not have its page.
fn no_pin(error: &FaultError<Host>) -> Seen {
    match error {
        FaultError::OutOfMemory => Symbol::ENOMEM.into(),
        _ => Symbol::EFAULT.into(),
    }
}

impl Engine<'_> {
    /// An access of who runs to each page of a group, the representative first, which says how it went.
    pub(super) fn each(
        &mut self,
        page: MappingPage,
        mut access: impl FnMut(&mut HostCpu, VirtAddr) -> Result<u64, FaultError<Host>>,
    ) -> Seen {
        let (id, mut cpu) = self.cpu.take().expect("only processes have memory");
        let mut one = |addr| match access(&mut cpu, addr) {
            Ok(value) => Seen::Number(value),
            Err(error) => signal(&error),
        };
        let first = one(self.representative(page));
        let goes_on = matches!(first, Seen::Number(_)) || self.reach == Reach::Groups;
        for addr in self.others(page).take_while(|_| goes_on) {
            let other = one(addr);
            self.compare(page, addr, &first, &other);
        }
        self.cpu = Some((id, cpu));
        first
    }

    /// Keeps in mind that a page of a group did not do as its representative.
    pub(super) fn compare(
        &mut self,
        page: MappingPage,
        addr: VirtAddr,
        first: &Seen,
        other: &Seen,
    ) {
        if first != other && self.uneven.is_none() {
            let number = addr.page() - self.group(page).start.page();
            let why = format!("{first}, but {other} in page {number} of the group");
            self.uneven = Some(why);
        }
    }

    /// Makes a mapping.
    pub(super) fn map(&self, id: MappingId) {
        let mapping = &self.scenario[id];
        let backing = match mapping.backing {
            Backing::Object(object) => Mapped::Object {
                mapping: self.object(object),
                pgoff: PageIndex(0),
                sharing: match mapping.sharing {
                    Sharing::Shared if mapping.writable.0 => Shared::SharedWritable,
                    Sharing::Shared => Shared::Shared,
                    Sharing::Private => Shared::Private,
                },
            },
            Backing::Anonymous { .. } => Mapped::Anonymous,
        };
        // A file is opened for that, and closed.
        let file = match mapping.backing {
            Backing::Object(object) if mapping.writable.0 => Some(self.object(object)),
            _ => None,
        };
        let file = file.filter(|file| filemap::open_write(*file).is_ok());
        // If the range is in use, then by itself.
        let _ = mmap::mmap(self.mm(mapping.mm), self.whole(id), backing);
        if let Some(file) = file {
            let _ = filemap::close_write(file);
        }
    }

    pub(super) fn mremap(&self, from: MappingRange, to: MappingRange) -> Seen {
        let mm = self.mm_of(from.mapping);
        mapped(mremap::mremap(mm, self.range(from), self.range(to)))
    }

    /// Something that reads or writes a page with a reference of its own: the representative, or, where nobody but the engine is to do
    /// so, each page of its group.
    fn referenced(
        &mut self,
        page: MappingPage,
        one: impl Fn(Ref<Host, Mm<Host>>, VirtAddr) -> Seen,
    ) -> Seen {
        let mm = self.mm_of(page.mapping);
        let first = one(mm, self.representative(page));
        if self.reach == Reach::Groups {
            for addr in self.others(page) {
                let other = one(mm, addr);
                self.compare(page, addr, &first, &other);
            }
        }
        first
    }

    pub(super) fn gup(&mut self, page: MappingPage) -> Seen {
        self.referenced(page, |mm, addr| match gup::pin_user_page(mm, addr, false) {
            Ok(pfn) => read_pinned(pfn),
            Err(error) => no_pin(&error),
        })
    }

    pub(super) fn gup_write(&mut self, page: MappingPage, value: u64) -> Seen {
        self.referenced(page, |mm, addr| match gup::pin_user_page(mm, addr, true) {
            Ok(pfn) => write_pinned(pfn, value),
            Err(error) => no_pin(&error),
        })
    }

    pub(super) fn gup_fast(&mut self, page: MappingPage) -> Seen {
        self.referenced(page, |mm, addr| {
            let pinned = gup::pin_user_page_fast(mm, addr, false);
            pinned.map_or_else(|| Symbol::EFAULT.into(), read_pinned)
        })
    }

    pub(super) fn gup_fast_write(&mut self, page: MappingPage, value: u64) -> Seen {
        self.referenced(page, |mm, addr| {
            let pinned = gup::pin_user_page_fast(mm, addr, true);
            pinned.map_or_else(|| Symbol::EFAULT.into(), |pfn| write_pinned(pfn, value))
        })
    }

    pub(super) fn vmsplice(&mut self, page: MappingPage) -> Seen {
        self.referenced(page, |mm, addr| {
            let pfn = gup::get_user_page_fast(mm, addr, false);
            pfn.map_or_else(|| Symbol::EFAULT.into(), read_held)
        })
    }

    pub(super) fn proc_mem_read(&mut self, page: MappingPage) -> Seen {
        self.referenced(page, |mm, addr| {
            let read = gup::access_remote_vm(mm, addr, false, read_frame);
            read.map_or_else(|_| Symbol::EIO.into(), Seen::Number)
        })
    }

    pub(super) fn proc_mem_write(&mut self, page: MappingPage, value: u64) -> Seen {
        self.referenced(page, |mm, addr| {
            let written = gup::access_remote_vm(mm, addr, true, |pfn| write_frame(pfn, value));
            written.map_or_else(|_| Symbol::EIO.into(), |()| Seen::Number(0))
        })
    }
}

/// Reads a page through a reference, and gives that back.
fn read_held(pfn: Pfn) -> Seen {
    let value = read_frame(pfn);
    gup::put_user_page::<Host>(pfn);
    Seen::Number(value)
}

/// Reads a page through its pin, and ends that.
fn read_pinned(pfn: Pfn) -> Seen {
    let value = read_frame(pfn);
    gup::unpin_user_page::<Host>(pfn);
    Seen::Number(value)
}

/// Writes a page through its pin, and ends that.
fn write_pinned(pfn: Pfn, value: u64) -> Seen {
    write_frame(pfn, value);
    gup::unpin_user_page_dirty::<Host>(pfn);
    Seen::Number(0)
}
