//! The table of calls, as it is shown in help, and every call in use.

use insta::assert_snapshot;
use pagefold_litmus::{
    ACTORS, Advice, CALLS, Call, Form, Hold, MappingId, MappingPage, MappingRange, PageRange,
    ProtectNew, Protection, Role, SkipHoles, StatementKind, UffdMode, UffdModes,
};

use crate::common::check;

#[test]
fn the_table() {
    let rows: Vec<String> = CALLS
        .iter()
        .map(|spec| {
            format!(
                "{:?} {:?} {:?}\n    {}",
                spec.signature(),
                spec.roles,
                spec.returns,
                spec.doc
            )
        })
        .collect();
    assert_snapshot!(rows.join("\n"), @r#"
    "r = x[i]" [Cpu, Device, Vcpu, Monitor, Final] Content
        Reads a page.
    "x[i] = v" [Cpu, Device, Vcpu] Nothing
        Writes a page.
    "x: mmap(f/ANON[n], MAP_SHARED/MAP_PRIVATE[, PROT_READ|PROT_WRITE])" [Start, Cpu] Nothing
        Maps the whole object, or anonymous memory; a file to be written through the mapping if it says so.
    "uffd(x, MISSING|WP|MINOR|CHANGES|EVENT_FORK|EVENT_REMAP|WP_ASYNC|SIGBUS_ON_FAULT)" [Start] Nothing
        The mapping is registered with userfaultfd from the start.
    "madvise(x[i..j], MADV_COLLAPSE/MADV_DONTNEED/MADV_COLD/MADV_PAGEOUT/MADV_GUARD_INSTALL/MADV_GUARD_REMOVE/MADV_HUGEPAGE/MADV_NOHUGEPAGE/MADV_POPULATE_READ/MADV_POPULATE_WRITE)" [Cpu] Status
        Collapses pages of a mapping into huge ones, drops what they map, moves it out, or says how it is used.
    "munmap(x[i..j])" [Cpu] Status
        Takes the mapping away, or pages of it.
    "mprotect(x[i..j], PROT_NONE/PROT_READ/PROT_READ|PROT_WRITE)" [Cpu] Status
        Changes what the process may do with the mapping, or pages of it.
    "mremap(x[i..j], x[i..j])" [Cpu] Status
        Moves the mapping, or pages of it, to where as many others are, which go away.
    "fork(A)" [Cpu] Status
        Copies the address space to one that is declared as forked from it, whose threads then begin.
    "exit()" [Cpu] Nothing
        Ends the thread; with the last one of the process its address space goes.
    "uffd_register(x, MISSING|WP|MINOR|CHANGES|EVENT_FORK|EVENT_REMAP|WP_ASYNC|SIGBUS_ON_FAULT)" [Cpu] Status
        Registers the mapping with userfaultfd.
    "uffd_unregister(x)" [Cpu] Status
        Ends the registration with userfaultfd.
    "uffdio_copy(x[i], v[, MODE_WP])" [Cpu, Monitor] Status
        Fills a missing page with a copy, write-protected if it says so.
    "uffdio_zeropage(x[i])" [Cpu, Monitor] Status
        Fills a missing page with zeroes.
    "uffdio_writeprotect(x[i][, 0])" [Cpu, Monitor] Status
        Write-protects a page; with 0, takes the protection away.
    "uffdio_poison(x[i])" [Cpu, Monitor] Status
        Marks a missing page as poisoned.
    "uffdio_continue(x[i][, MODE_WP])" [Cpu, Monitor] Status
        Maps a page that the object has, write-protected if it says so.
    "uffdio_move(x[i..j], x[i..j][, ALLOW_SRC_HOLES])" [Cpu, Monitor] Status
        Moves private pages to where they are missing; with ALLOW_SRC_HOLES, those of the range that are there.
    "uffd_read(x)" [Monitor] Content
        Waits for an event of a mapping that has a userfaultfd from the start or by fork, and gives its page; EINTR once all others have ended.
    "uffd_answer(x, v)" [Monitor] Content
        As `uffd_read`, and answers: fills the page with a copy, or maps the object's, or takes the protection away.
    "uffd_close(x)" [Cpu, Monitor] Status
        Closes the userfaultfd that the mapping has from the start or by fork.
    "gup_fast(x[i])" [Cpu] Content
        Pins a page by the lock-free walk, reads it and lets it go.
    "gup_fast_write(x[i], v)" [Cpu] Status
        Pins a page for writing by the lock-free walk, writes it and lets it go.
    "gup(x[i])" [Cpu] Content
        Pins a page, faulting it in if need be, reads it and lets it go.
    "gup_write(x[i], v)" [Cpu] Status
        Pins a page for writing, faulting it in if need be, writes it and lets it go.
    "vmsplice(x[i])" [Cpu] Content
        Gets a page by the lock-free walk without pinning it, as vmsplice does, reads it and lets it go.
    "proc_mem_read(x[i])" [Cpu] Content
        Reads a page through `/proc/self/mem`, which does not ask what the mapping allows.
    "proc_mem_write(x[i], v)" [Cpu] Status
        Writes a page through `/proc/self/mem`: a private one, if the mapping does not allow it.
    "hold(x[i], FOLL_GET/FOLL_LONGTERM/FOLL_LONGTERM|FOLL_WRITE)" [Cpu] Status
        Takes a reference to a page, or a pin, faulting it in if need be, and keeps it; whatever was held by that address before is let go.
    "read_held(x[i])" [Cpu, Final] Content
        Reads the page that is held by an address; EBADF if there is none.
    "write_held(x[i], v)" [Cpu] Status
        Writes the page that is held by an address with FOLL_WRITE; EBADF if there is none.
    "let_go(x[i])" [Cpu] Status
        Lets the page go that is held by an address.
    "hwpoison(x[i])" [Cpu] Status
        The memory that the page at an address is in goes bad: its content cannot be copied any more. (A word of it may still be read.)
    "mincore(x[i])" [Cpu] Flag
        Whether a page is in the page cache, looked up without a lock.
    "prefetch(x[i])" [Cpu, Device] Nothing
        Lets the hardware walk to a page speculatively, which never faults.
    "scan([A][, v][, v][, v])" [Khugepaged] Count
        Looks through one address space, or all, for ranges to collapse, of whose pages so many may be missing, shared, in swap; gives how many it collapsed.
    "rmap_walk(f[i])" [Reclaim, Kernel] Count
        Visits every mapping of a page, and gives how many it saw.
    "rmap_walk_anon(x[i])" [Cpu, Final] Count
        Visits every mapping of the private page at an address, and gives how many it saw; ENOENT if there is none.
    "reclaim(x[i])" [Reclaim, Kernel] Count
        Moves the page at an address out, a private one or that of an object, unless somebody has got it, and gives how many it moved.
    "shrink(x[i])" [Reclaim, Kernel] Count
        As `reclaim`, but leaves a page alone that was used since this last came by.
    "migrate(x[i])" [Kernel] Flag
        Moves the private page at an address, the whole of it if it is huge, to another frame, unless somebody has got it; whether it did.
    "oom_reap(A)" [Kernel] Flag
        Takes the private memory of an address space away whose threads may still run, as of a process that is being killed for it; whether it did.
    "collapse(f)" [Kernel] Status
        Collapses an object in the page cache.
    "truncate(f, v)" [Cpu, Kernel] Status
        Makes an object so many pages long; what lies behind the new end is given up.
    "fallocate_punch(f[i])" [Cpu, Kernel] Status
        Makes a hole of a page of an object.
    "open_write(f)" [Cpu, Kernel] Status
        Opens a file for writing.
    "close_write(f)" [Cpu, Kernel] Status
        Closes a file that was opened for writing.
    "write(f[i], v)" [Cpu, Kernel] Status
        Writes a page of a file that the thread has opened for writing.
    "fsync(f)" [Cpu, Kernel] Status
        Writes what is dirty of a file to the disk.
    "page_table(x)" [Final] Flag
        Whether the mapping has a page table for its small pages.
    "pmd_mapped(x)" [Final] Flag
        Whether the mapping is mapped by a huge page.
    "uffd_wp(x[i])" [Final] Flag
        Whether a page is marked as write-protected by userfaultfd.
    "swapped(x[i])" [Final] Flag
        Whether a page is in swap, as its entry says.
    "on_disk(f[i])" [Final] Content
        What the disk holds of a page of a file.
    "rss()" [Final] Count
        The pages that the address space accounts for.
    "#);
}

#[test]
fn the_table_of_actors() {
    let rows: Vec<String> = ACTORS
        .iter()
        .map(|spec| format!("{}: {} ({})", spec.signature(), spec.doc, spec.role.name()))
        .collect();
    assert_snapshot!(rows.join("\n"), @"
    A: A CPU that runs a thread of the process. (a thread of a process)
    device A: A device that walks the page tables of the process (SVA). (a `device`)
    vcpu A: A virtual CPU whose secondary tables follow the process (KVM). (a `vcpu`)
    monitor A: Who handles the events of the process's userfaultfd, from outside of the process. (a `monitor`)
    khugepaged: The daemon that collapses in the background. (`khugepaged`)
    reclaim: The daemon that takes pages back when memory is short (kswapd). (`reclaim`)
    kernel: The kernel, on behalf of no process. (the `kernel`)
    ");
}

#[test]
fn names_are_unique_and_every_role_has_something_to_do() {
    for (index, spec) in CALLS.iter().enumerate() {
        assert!(
            CALLS[..index].iter().all(|other| other.name != spec.name),
            "{} stands twice",
            spec.name
        );
        assert!(!spec.doc.is_empty() && !spec.roles.is_empty());
    }
    for role in Role::ALL {
        assert!(CALLS.iter().any(|spec| spec.roles.contains(role)));
    }
}

/// Each row can be written, by each role that may, with the placeholders of its own signature.
#[test]
fn every_call_parses_as_its_signature_says() {
    for spec in CALLS.iter().filter(|spec| spec.form == Form::Call) {
        let arguments: Vec<String> = spec
            .parameters
            .iter()
            .map(|parameter| {
                let text = parameter.shape.placeholder();
                let one = text.split('/').next().unwrap_or(&text);
                one.replace("[i]", "[1]")
                    .replace("[i..j]", "[0..2]")
                    .replace('v', "7")
            })
            .collect();
        let call = format!("{}({});", spec.name, arguments.join(", "));
        for role in spec.roles {
            let (start, thread, end) = match role {
                Role::Start => (call.as_str(), "P (A) { }".to_owned(), String::new()),
                Role::Final => ("", "P (A) { }".to_owned(), format!("final(A) {{ {call} }}")),
                role => {
                    let actor = ACTORS.iter().find(|actor| actor.role == *role);
                    let actor = actor.expect("every other role is an actor's").signature();
                    ("", format!("P ({actor}) {{ {call} }}"), String::new())
                }
            };
            let source = format!(
                "MM t {{ shmem f[2]; mm A {{ x: mmap(f, MAP_SHARED); {start} }} }} {thread} {end}"
            );
            let scenario = check(&source).unwrap_or_else(|errors| panic!("{call}: {errors}"));
            let bodies = scenario.threads.iter().map(|thread| &thread.body);
            let bodies = bodies.chain(scenario.finals.iter().map(|phase| &phase.body));
            for statement in bodies.flatten() {
                let StatementKind::Call { call, .. } = &statement.kind else {
                    panic!("{} is no call", spec.name);
                };
                assert_eq!(call.spec(), spec);
            }
        }
    }
}

#[test]
fn arguments_arrive() {
    let source = "MM t { shmem f[2]; mm A { x: mmap(f, MAP_SHARED); } }
        P (A) {
            madvise(x, MADV_DONTNEED);
            madvise(x[1], MADV_DONTNEED);
            munmap(x[0..1]);
            e = uffdio_copy(x[1], 0x10);
            uffdio_copy(x[1], 3, MODE_WP);
            uffdio_move(x, x[0..2], ALLOW_SRC_HOLES);
            hold(x[0], FOLL_WRITE|FOLL_LONGTERM);
            uffd_register(x, WP|MISSING);
            uffdio_writeprotect(x[0]);
            uffdio_writeprotect(x[0], 0);
        }";
    let scenario = check(source).expect("a good scenario");
    let calls: Vec<Call> = scenario.threads[0]
        .body
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::Call { call, .. } => Some(*call),
            _ => None,
        })
        .collect();
    let mapping = MappingId::new(0);
    let page = |page| MappingPage { mapping, page };
    let range = |pages: Option<(usize, usize)>| MappingRange {
        mapping,
        pages: pages.map(|(first, end)| PageRange { first, end }),
    };
    let modes = UffdModes::of(&[UffdMode::Missing, UffdMode::Wp]);
    assert_eq!(
        calls,
        [
            Call::Madvise(range(None), Advice::DontNeed),
            Call::Madvise(range(Some((1, 2))), Advice::DontNeed),
            Call::Munmap(range(Some((0, 1)))),
            Call::UffdioCopy(page(1), 16, ProtectNew(false)),
            Call::UffdioCopy(page(1), 3, ProtectNew(true)),
            Call::UffdioMove(range(None), range(Some((0, 2))), SkipHoles(true)),
            Call::Hold(page(0), Hold::WritePin),
            Call::UffdRegister(mapping, modes),
            Call::UffdioWriteprotect(page(0), Protection::Protect),
            Call::UffdioWriteprotect(page(0), Protection::Unprotect),
        ]
    );
}
