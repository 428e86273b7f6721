//! What calls do: those of the language, to whole groups. Those of userfaultfd are in `uffd`, pins in `memory`.

use pagefold::Ref;
use pagefold::addr::{AddrRange, PageIndex};
use pagefold::collapse::{self, CollapseError, Limits, ScanResult};
use pagefold::filemap::{self, WriteError};
use pagefold::fork::dup_mmap;
use pagefold::mm::Mm;
use pagefold::mmap::MmapError;
use pagefold::mprotect::{Protection as Access, mprotect};
use pagefold::{madvise, migrate, mmap, oom, reclaim, rmap, truncate, userfault};
use pagefold_litmus::{Advice, Call, Limit, MmId, ObjectId, ObjectPage, Permission, Scope};
use pagefold_machine::host::{Host, PTRS_PER_TABLE};

use super::Engine;
use super::memory::{read_frame, write_frame};
use crate::limits;
use crate::report::Seen;

pub(super) fn word(name: &str) -> Seen {
    Seen::Word(name.to_owned())
}

pub(super) fn status(result: Result<(), &'static str>) -> Seen {
    result.map_or_else(word, |()| Seen::Number(0))
}

pub(super) fn mapped(result: Result<(), MmapError>) -> Seen {
    status(result.map_err(|error| error.errno()))
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
            Call::Mremap(from, to) => self.mremap(from, to),
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
            Call::Hwpoison(_) => unreachable!("`check` refuses it"),
            Call::OomReap(mm) => Seen::Number(oom::reap(self.mm(mm)).into()),
            Call::Migrate(page) => {
                let pages = self.group(page).each_page();
                let moved = pages.filter(|addr| migrate::migrate(self.mm_of(page.mapping), *addr));
                Seen::Number((moved.count() > 0).into())
            }
            Call::Shrink(page) => {
                let group = self.group(page);
                of_group(reclaim::shrink(self.mm_of(page.mapping), group), group)
            }
            Call::UffdRegister(mapping, modes) => self.register(mapping, modes),
            Call::UffdUnregister(mapping) => self.unregister(mapping),
            Call::UffdioCopy(page, value, mode) => self.uffd_copy(page, value, mode.0),
            Call::UffdioZeropage(page) => self.fill(page, userfault::zeropage),
            Call::UffdioContinue(page, mode) => {
                self.fill(page, |mm, addr| userfault::continue_page(mm, addr, mode.0))
            }
            Call::UffdioPoison(page) => self.fill(page, userfault::poison),
            Call::UffdioWriteprotect(page, to) => self.writeprotect(page, to),
            Call::UffdioMove(to, from, mode) => self.move_pages(to, from, mode.0),
            Call::UffdClose(mapping) => self.uffd_close(mapping),
            Call::UffdRead(_) | Call::UffdAnswer(..) => unreachable!("there are no monitors"),
            Call::GupFast(page) => self.gup_fast(page),
            Call::Gup(page) => self.gup(page),
            Call::GupFastWrite(page, value) => self.gup_fast_write(page, value),
            Call::GupWrite(page, value) => self.gup_write(page, value),
            Call::Vmsplice(page) => self.vmsplice(page),
            Call::ProcMemRead(page) => self.proc_mem_read(page),
            Call::ProcMemWrite(page, value) => self.proc_mem_write(page, value),
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

    fn madvise(&mut self, mm: Ref<Host, Mm<Host>>, range: AddrRange, advice: Advice) -> Seen {
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
            Advice::HugePage => mapped(madvise::hugepage(mm, range, true)),
            Advice::NoHugePage => mapped(madvise::hugepage(mm, range, false)),
            Advice::PopulateRead => mapped(madvise::populate(mm, range, false)),
            Advice::PopulateWrite => mapped(madvise::populate(mm, range, true)),
        }
    }

    fn fork(&mut self, caller: Option<MmId>, child: MmId) -> Seen {
        let Some(parent) = caller.filter(|mm| self.scenario[child].parent == Some(*mm)) else {
            return word("EINVAL");
        };
        if std::mem::replace(&mut self.processes[child.index()].there, true) {
            return word("EAGAIN");
        }
        let result = dup_mmap(self.mm(parent), self.mm(child));
        result.expect("the machine is large enough");
        Seen::Number(0)
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
