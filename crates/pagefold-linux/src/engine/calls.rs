//! What accesses and calls do: those of the language, to whole groups.

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex, Pfn, VirtAddr};
use pagefold::collapse::{self, CollapseError, Limits, ScanResult};
use pagefold::fault::FaultError;
use pagefold::filemap::{self, WriteError};
use pagefold::fork::dup_mmap;
use pagefold::mm::Mm;
use pagefold::mmap::{Backing as Mapped, MmapError, Sharing as Shared};
use pagefold::mprotect::{Protection as Access, mprotect};
use pagefold::platform::Word;
use pagefold::userfault::{self, Features, Modes, UffdError, Userfaultfd};
use pagefold::{gup, madvise, mmap, mremap, reclaim, rmap, truncate};
use pagefold_litmus::{
    Advice, Backing, Call, Limit, MappingId, MappingPage, MmId, ObjectId, ObjectPage, Permission,
    Protection, Scope, Sharing, Symbol, UffdMode, UffdModes,
};
use pagefold_machine::host::{Host, PTRS_PER_TABLE};

use super::Engine;
use crate::limits;
use crate::report::Seen;

pub(super) fn write_frame(pfn: Pfn, value: u64) {
    Host::page(pfn)[0].write_once(value);
}

fn read_frame(pfn: Pfn) -> u64 {
    Host::page(pfn)[0].read_once()
}

fn word(name: &str) -> Seen {
    Seen::Word(name.to_owned())
}

fn status(result: Result<(), &'static str>) -> Seen {
    result.map_or_else(word, |()| Seen::Number(0))
}

fn mapped(result: Result<(), MmapError>) -> Seen {
    status(result.map_err(|error| error.errno()))
}

fn uffd(result: Result<(), UffdError>) -> Seen {
    status(result.map_err(UffdError::errno))
}

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

/// How many pages of the scenario so many pages of a group are.
fn of_group(pages: usize, group: AddrRange) -> Seen {
    let all = group.each_page().count();
    match pages {
        0 => Seen::Number(0),
        _ if pages == all => Seen::Number(1),
        _ => Seen::Word(format!("{pages} of {all}")),
    }
}

impl Engine<'_> {
    fn mm(&self, id: MmId) -> Ref<Host, Mm<Host>> {
        self.processes[id.index()].mm
    }

    fn mm_of(&self, mapping: MappingId) -> Ref<Host, Mm<Host>> {
        self.mm(self.scenario[mapping].mm)
    }

    fn object(&self, id: ObjectId) -> Ref<Host, pagefold::page_cache::Mapping<Host>> {
        self.objects[id.index()]
    }

    /// An access to each page of a group, the representative first. They all give the same, or what comes out is that they do not.
    pub(super) fn each(
        &self,
        page: MappingPage,
        mut access: impl FnMut(VirtAddr) -> Result<u64, FaultError<Host>>,
    ) -> Seen {
        self.same(page, |addr| match access(addr) {
            Ok(value) => Seen::Number(value),
            Err(error) => signal(&error),
        })
    }

    /// Something that is done to each page of a group, the representative first.
    fn same(&self, page: MappingPage, mut one: impl FnMut(VirtAddr) -> Seen) -> Seen {
        let first = one(self.representative(page));
        for addr in self.others(page) {
            let other = one(addr);
            if other != first {
                let page = addr.page() - self.group(page).start.page();
                return Seen::Word(format!("{first}, but {other} in page {page} of the group"));
            }
        }
        first
    }

    fn others(&self, page: MappingPage) -> impl Iterator<Item = VirtAddr> + use<> {
        let representative = self.representative(page);
        let group = self.group(page);
        group
            .each_page()
            .filter(move |addr| *addr != representative)
    }

    /// The pages of an object that a page of the scenario stands for.
    fn indices(&self, page: ObjectPage) -> impl Iterator<Item = PageIndex> + use<> {
        let range = self.spread.group_start(page.page)..self.spread.group_start(page.page + 1);
        range.map(|index| PageIndex(index as u64))
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

    /// Registers a mapping with a new userfaultfd.
    pub(super) fn register(&mut self, id: MappingId, modes: UffdModes) -> Result<(), UffdError> {
        let features = Features {
            sigbus: modes.has(UffdMode::Sigbus),
            wp_async: modes.has(UffdMode::WpAsync),
            changes: modes.has(UffdMode::Changes),
            fork: modes.has(UffdMode::EventFork),
            remap: modes.has(UffdMode::EventRemap),
        };
        let events = Modes {
            missing: modes.has(UffdMode::Missing),
            minor: modes.has(UffdMode::Minor),
            wp: modes.has(UffdMode::Wp),
        };
        let mm = self.mm_of(id);
        let userfaultfd = Userfaultfd::new(mm, features);
        self.userfaultfds[id.index()] = Some(userfaultfd);
        userfault::register(mm, self.whole(id), userfaultfd, events)
    }

    /// A call of a thread of `caller`, or of the kernel.
    pub(super) fn call(&mut self, caller: Option<MmId>, call: Call) -> Seen {
        match call {
            Call::Exit => unreachable!("it ends the thread"),
            Call::Madvise(range, advice) => {
                self.madvise(self.mm_of(range.mapping), self.range(range), advice)
            }
            Call::Munmap(range) => {
                mapped(mmap::munmap(self.mm_of(range.mapping), self.range(range)))
            }
            Call::Mprotect(range, permission) => {
                let access = match permission {
                    Permission::None => Access::None,
                    Permission::Read => Access::Read,
                    Permission::ReadWrite => Access::ReadWrite,
                };
                mapped(mprotect(
                    self.mm_of(range.mapping),
                    self.range(range),
                    access,
                ))
            }
            Call::Mremap(from, to) => {
                let to = self.range(to).start;
                mapped(mremap::mremap(
                    self.mm_of(from.mapping),
                    self.range(from),
                    to,
                ))
            }
            Call::Fork(child) => self.fork(caller, child),
            Call::Mincore(page) => {
                match mmap::mincore(self.mm_of(page.mapping), self.representative(page)) {
                    Ok(cached) => Seen::Number(cached.into()),
                    Err(error) => word(error.errno()),
                }
            }
            Call::Reclaim(page) => {
                let group = self.group(page);
                of_group(reclaim::pageout(self.mm_of(page.mapping), group), group)
            }
            Call::Shrink(page) => {
                let group = self.group(page);
                of_group(reclaim::shrink(self.mm_of(page.mapping), group), group)
            }
            Call::UffdRegister(mapping, modes) => uffd(self.register(mapping, modes)),
            Call::UffdUnregister(mapping) => uffd(userfault::unregister(
                self.mm_of(mapping),
                self.whole(mapping),
            )),
            Call::UffdioCopy(page, value, mode) => self.fill(page, |mm, addr| {
                userfault::copy(mm, addr, mode.0, |pfn| write_frame(pfn, value))
            }),
            Call::UffdioZeropage(page) => self.fill(page, userfault::zeropage),
            Call::UffdioContinue(page, mode) => {
                self.fill(page, |mm, addr| userfault::continue_page(mm, addr, mode.0))
            }
            Call::UffdioPoison(page) => self.fill(page, userfault::poison),
            Call::UffdioWriteprotect(page, to) => self.fill(page, |mm, addr| {
                userfault::writeprotect(mm, addr, to == Protection::Protect)
            }),
            Call::UffdioMove(to, from, mode) => {
                let to = self.range(to).start;
                uffd(userfault::move_pages(
                    self.mm_of(from.mapping),
                    to,
                    self.range(from),
                    mode.0,
                ))
            }
            Call::UffdClose(mapping) => match self.userfaultfds[mapping.index()] {
                Some(userfaultfd) => {
                    userfault::close(self.mm_of(mapping), userfaultfd);
                    Seen::Number(0)
                }
                None => word("EINVAL"),
            },
            Call::UffdRead(_) | Call::UffdAnswer(..) => unreachable!("there are no monitors"),
            Call::GupFast(page) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| {
                    match gup::pin_user_page_fast(mm, addr, false) {
                        Some(pfn) => read_pinned(pfn),
                        None => Symbol::EFAULT.into(),
                    }
                })
            }
            Call::Gup(page) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| match gup::pin_user_page(mm, addr, false) {
                    Ok(pfn) => read_pinned(pfn),
                    Err(error) => no_pin(&error),
                })
            }
            Call::GupFastWrite(page, value) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| match gup::pin_user_page_fast(mm, addr, true) {
                    Some(pfn) => write_pinned(pfn, value),
                    None => Symbol::EFAULT.into(),
                })
            }
            Call::GupWrite(page, value) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| match gup::pin_user_page(mm, addr, true) {
                    Ok(pfn) => write_pinned(pfn, value),
                    Err(error) => no_pin(&error),
                })
            }
            Call::Vmsplice(page) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| {
                    match gup::get_user_page_fast(mm, addr, false) {
                        Some(pfn) => {
                            let value = read_frame(pfn);
                            gup::put_user_page::<Host>(pfn);
                            Seen::Number(value)
                        }
                        None => Symbol::EFAULT.into(),
                    }
                })
            }
            Call::ProcMemRead(page) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| {
                    match gup::get_user_page_forced(mm, addr, false) {
                        Ok(pfn) => {
                            let value = read_frame(pfn);
                            gup::put_user_page::<Host>(pfn);
                            Seen::Number(value)
                        }
                        Err(_) => Symbol::EIO.into(),
                    }
                })
            }
            Call::ProcMemWrite(page, value) => {
                let mm = self.mm_of(page.mapping);
                self.same(page, |addr| {
                    match gup::get_user_page_forced(mm, addr, true) {
                        Ok(pfn) => {
                            write_frame(pfn, value);
                            gup::put_user_page_dirty::<Host>(pfn);
                            Seen::Number(0)
                        }
                        Err(_) => Symbol::EIO.into(),
                    }
                })
            }
            Call::Hold(..) | Call::ReadHeld(_) | Call::WriteHeld(..) | Call::LetGo(_) => {
                unreachable!("`check` refuses it")
            }
            Call::Truncate(object, pages) => self.truncate(object, pages),
            Call::FallocatePunch(page) => {
                let range =
                    self.spread.group_start(page.page)..self.spread.group_start(page.page + 1);
                truncate::punch_hole(
                    self.object(page.object),
                    range.start as u64..range.end as u64,
                );
                Seen::Number(0)
            }
            Call::OpenWrite(file) => {
                status(filemap::open_write(self.object(file)).map_err(|_| "EINVAL"))
            }
            Call::CloseWrite(file) => {
                status(filemap::close_write(self.object(file)).map_err(|_| "EBADF"))
            }
            Call::Write(page, value) => self.write(page, value),
            Call::Fsync(file) => {
                filemap::fsync(self.object(file));
                Seen::Number(0)
            }
            Call::Scan(scope, none, shared, swap) => self.scan(scope, [none, shared, swap]),
            Call::Collapse(object) => self.collapse(object),
            // It maps nothing and faults nothing in.
            Call::Prefetch(_) => Seen::Number(0),
            Call::RmapWalk(page) => {
                let index = PageIndex(self.spread.representative(page.page) as u64);
                Seen::Number(rmap::rmap_walk(self.object(page.object), index) as u64)
            }
            Call::RmapWalkAnon(page) => {
                let found =
                    rmap::rmap_walk_anon(self.mm_of(page.mapping), self.representative(page));
                found.map_or_else(|| word("ENOENT"), |found| Seen::Number(found as u64))
            }
            Call::PageTable(mapping) => Seen::Number(self.page_table(mapping).into()),
            Call::PmdMapped(mapping) => Seen::Number(self.pmd_mapped(mapping).into()),
            Call::UffdWp(page) => Seen::Number(self.uffd_wp(page).into()),
            Call::Swapped(page) => Seen::Number(self.swapped(page).into()),
            Call::OnDisk(page) => {
                let index = PageIndex(self.spread.representative(page.page) as u64);
                match self.object(page.object).disk_page(index) {
                    Some(pfn) => Seen::Number(read_frame(pfn)),
                    None => word("EINVAL"),
                }
            }
            Call::Rss => caller.map_or(Seen::Number(0), |mm| self.rss(mm)),
        }
    }

    fn madvise(&self, mm: Ref<Host, Mm<Host>>, range: AddrRange, advice: Advice) -> Seen {
        match advice {
            Advice::Collapse => {
                let result = collapse::madvise_collapse(mm, range, |_, _| {});
                status(result.map_err(CollapseError::errno))
            }
            Advice::PageOut => {
                reclaim::pageout(mm, range);
                Seen::Number(0)
            }
            Advice::Cold => mapped(madvise::cold(mm, range)),
            Advice::DontNeed => mapped(madvise::dontneed(mm, range)),
            Advice::GuardInstall => mapped(madvise::guard_install(mm, range)),
            Advice::GuardRemove => mapped(madvise::guard_remove(mm, range)),
            Advice::PopulateRead => mapped(madvise::populate(mm, range, false)),
            Advice::PopulateWrite => mapped(madvise::populate(mm, range, true)),
        }
    }

    fn fork(&mut self, caller: Option<MmId>, child: MmId) -> Seen {
        let Some(parent) = caller.filter(|mm| self.scenario[child].parent == Some(*mm)) else {
            return word("EINVAL");
        };
        if self.processes[child.index()].forked {
            return word("EAGAIN");
        }
        self.processes[child.index()].forked = true;
        let result = dup_mmap(self.mm(parent), self.mm(child));
        result.expect("the machine is large enough");
        Seen::Number(0)
    }

    fn fill(
        &self,
        page: MappingPage,
        request: impl Fn(Ref<Host, Mm<Host>>, VirtAddr) -> Result<(), UffdError>,
    ) -> Seen {
        let mm = self.mm_of(page.mapping);
        self.same(page, |addr| uffd(request(mm, addr)))
    }

    fn truncate(&self, object: ObjectId, pages: u64) -> Seen {
        let pages = usize::try_from(pages).ok();
        let small = pages.filter(|pages| *pages <= crate::geometry::MAX_PAGES);
        let result = match small {
            Some(pages) => {
                let small = self.spread.group_start(pages) as u64;
                truncate::truncate(self.object(object), small).map_err(|_| "EINVAL")
            }
            None => Err("EINVAL"),
        };
        status(result)
    }

    fn write(&self, page: ObjectPage, value: u64) -> Seen {
        let object = self.object(page.object);
        let result = self.indices(page).try_for_each(|index| {
            filemap::write(object, index, |pfn| write_frame(pfn, value)).map(drop)
        });
        status(result.map_err(|error| match error {
            WriteError::NotOpen => "EBADF",
            WriteError::Cache(_) => "ENOSPC",
        }))
    }

    fn limits(&self, limits: [Limit; 3]) -> Limits {
        let [max_ptes_none, max_ptes_shared, max_ptes_swap] =
            limits::real(self.scenario, &self.spread, limits);
        Limits {
            max_ptes_none,
            max_ptes_shared,
            max_ptes_swap,
        }
    }

    fn scan(&self, scope: Scope, limits: [Limit; 3]) -> Seen {
        let limits = self.limits(limits);
        let mut collapsed = 0;
        let report = |_, result| collapsed += u64::from(result == ScanResult::Succeed);
        match scope.0 {
            Some(mm) => collapse::khugepaged_scan_mm(self.mm(mm), limits, report),
            None => self.khugepaged.scan(limits, report),
        }
        Seen::Number(collapsed)
    }

    /// All huge ranges of an object; the first refusal is the result.
    fn collapse(&self, id: ObjectId) -> Seen {
        let end = self.spread.group_start(self.scenario[id].pages());
        let usual = self.limits(Default::default());
        let huge = (0..end / PTRS_PER_TABLE).map(|number| number * PTRS_PER_TABLE);
        for start in huge {
            let result =
                collapse::collapse_mapping(self.object(id), PageIndex(start as u64), usual);
            if result != ScanResult::Succeed {
                return word(result.errno());
            }
        }
        Seen::Number(0)
    }
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
