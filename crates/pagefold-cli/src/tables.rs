//! The names that the tool knows, as tables: it documents itself.

use std::io::{self, Write};

use pagefold::protocol::{Emptiness, Exclusion, Protocol, Safeguard, SafeguardSet, SecondaryTlb};
use pagefold_litmus::{ACTORS, CALLS, Form, Returns};

use crate::exit::Status;
use crate::grid::Grid;
use crate::terminal::Terminal;
use crate::vocabulary;

/// Prints a table.
pub(crate) fn print(grid: &Grid, terminal: Terminal, out: &mut dyn Write) -> io::Result<Status> {
    grid.write(terminal, out)?;
    Ok(Status::Fine)
}

/// The protocols: what each has the engine do.
pub(crate) fn protocols() -> Grid {
    let mut grid = Grid::new(["protocol", "retraction, and what else changed", "lacks"]);
    for protocol in Protocol::ALL {
        let default = if *protocol == Protocol::DEFAULT {
            " (default)"
        } else {
            ""
        };
        let lacks: Vec<&str> = protocol
            .lacks
            .iter()
            .map(|safeguard| safeguard.name())
            .collect();
        let lacks = if protocol.lacks == SafeguardSet::EMPTY {
            "nothing".to_owned()
        } else {
            lacks.join(", ")
        };
        grid.row([
            format!("{}{default}", protocol.name).into(),
            describe(protocol).into(),
            lacks.into(),
        ]);
    }
    grid
}

fn describe(protocol: &Protocol) -> String {
    let exclusion = match protocol.exclusion {
        Exclusion::MmapWrite => "under the mmap_lock and the VMA lock of every mapping process",
        Exclusion::MmapRead => "under the mmap_lock, for reading, of every mapping process",
        Exclusion::PageTableLocks => "under the page-table locks alone",
    };
    let emptiness = match protocol.emptiness {
        Emptiness::VmaFlags => "goes by the flags of the VMA",
        Emptiness::Scan => "looks at each entry",
    };
    let secondary = match protocol.secondary_tlb {
        SecondaryTlb::NotifierEnd => "IOMMUs are told when a notifier range ends",
        SecondaryTlb::Flush => "IOMMUs are told with each flush",
    };
    let faults = if protocol.file_faults_under_vma_lock {
        "file faults try the VMA lock first"
    } else {
        "file faults take the mmap_lock"
    };
    let later = [
        (
            protocol.fills_find_vma_first,
            "fillers look for the VMA before they look whether the layout is changing",
        ),
        (
            protocol.maps_whole_folios,
            "a fault on a huge page of shmem fills an empty table",
        ),
        (
            protocol.writes_huge_zero_page,
            "a write to the huge page of zeros brings a huge page",
        ),
        (
            protocol.drops_zeros_at_split,
            "pages of zeros are given up when a huge private page is divided",
        ),
        (
            protocol.reclaims_emptied_tables,
            "MADV_DONTNEED frees tables that it emptied",
        ),
        (
            protocol.madvise_under_vma_lock,
            "madvise tries the VMA lock first",
        ),
        (
            protocol.moves_several_vmas,
            "mremap moves several VMAs at once",
        ),
        (
            protocol.collapses_read_only_pages,
            "private pages that cannot be written are collapsed",
        ),
        (
            protocol.writes_back_before_collapse,
            "MADV_COLLAPSE has dirty pages of files written",
        ),
    ];
    let later = later
        .into_iter()
        .filter(|(does, _)| *does)
        .map(|(_, what)| what);
    let all: Vec<&str> = [exclusion, emptiness, secondary, faults]
        .into_iter()
        .chain(later)
        .collect();
    all.join("; ")
}

/// The safeguards.
pub(crate) fn safeguards() -> Grid {
    let mut grid = Grid::new(["safeguard", "what it does"]);
    for safeguard in Safeguard::ALL {
        grid.row([safeguard.name().into(), safeguard.describe().trim().into()]);
    }
    grid
}

/// Who can race.
pub(crate) fn actors() -> Grid {
    let mut grid = Grid::new(["actor", "what it is", "what it can do"]);
    for actor in ACTORS {
        let can: Vec<String> = CALLS
            .iter()
            .filter(|call| call.roles.contains(&actor.role))
            .map(|call| match call.form {
                Form::Load | Form::Store => call.signature(),
                Form::Map | Form::Call => call.name.to_owned(),
            })
            .collect();
        grid.row([
            actor.signature().into(),
            actor.doc.into(),
            can.join(", ").into(),
        ]);
    }
    grid
}

/// What a scenario can do.
pub(crate) fn calls() -> Grid {
    let mut grid = Grid::new(["call", "by", "gives", "what it does"]);
    for call in CALLS {
        let roles: Vec<&str> = call.roles.iter().map(|role| role.short_name()).collect();
        grid.row([
            call.signature().into(),
            roles.join(", ").into(),
            returns(call.returns).into(),
            call.doc.into(),
        ]);
    }
    grid
}

fn returns(returns: Returns) -> &'static str {
    match returns {
        Returns::Nothing => "",
        Returns::Status => "0 or error",
        Returns::Content => "content or error",
        Returns::Count => "number",
        Returns::Flag => "0 or 1",
    }
}

/// The violations that are looked for.
pub(crate) fn violations() -> Grid {
    let mut grid = Grid::new(["violation", "what should be true instead"]);
    for (name, description) in vocabulary::violations() {
        grid.row([name.into(), description.into()]);
    }
    grid
}
