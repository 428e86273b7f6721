//! What has a counterpart on a real kernel, and what has none, and why.

use pagefold_litmus::{
    Actor, Call, Hold, MappingId, MappingPage, Phase, Scenario, Span, Statement, StatementKind,
    Thread,
};

use super::{NoCounterpart, Where, any_call, calls, calls_of, is_of_uffd, moves, statements};
use crate::geometry::{HALVES, MAX_PAGES};

fn refuse(span: Span, reason: &str) -> Result<(), NoCounterpart> {
    Err(NoCounterpart {
        reason: reason.to_owned(),
        span,
    })
}

/// Whether each object and each mapping has its place at full size.
pub(crate) fn check_sizes(scenario: &Scenario) -> Result<(), NoCounterpart> {
    for object in &scenario.objects {
        if object.pages() > MAX_PAGES {
            return refuse(object.span, "the object is too large");
        }
    }
    for (index, mapping) in scenario.mappings.iter().enumerate() {
        if scenario.pages(MappingId::new(index)) > MAX_PAGES {
            return refuse(mapping.span, "the mapping is too large");
        }
    }
    Ok(())
}

/// Whether all of a scenario has a counterpart.
pub(super) fn look_for(scenario: &Scenario) -> Result<(), NoCounterpart> {
    if scenario.reuse_frames {
        return refuse(
            Span::START,
            "nobody can tell a kernel which frame to use next",
        );
    }
    check_sizes(scenario)?;
    for thread in &scenario.threads {
        let reason = match thread.actor {
            Actor::Device(_) => "a device that walks page tables",
            _ => continue,
        };
        return refuse(thread.span, reason);
    }
    for (place, statement) in statements(scenario) {
        if let StatementKind::Call { call, .. } = &statement.kind
            && let Some(reason) = without_counterpart(scenario, place, call)
        {
            return refuse(statement.span, reason);
        }
    }
    closed_by_one(scenario)?;
    held_by_one(scenario)?;
    for phase in &scenario.finals {
        check_final(scenario, phase)?;
    }
    Ok(())
}

fn without_counterpart(scenario: &Scenario, place: Where, call: &Call) -> Option<&'static str> {
    let mut actors = scenario.threads.iter().map(|thread| thread.actor);
    let has_guest = actors.any(|actor| matches!(actor, Actor::Vcpu(_)));
    Some(match call {
        Call::UffdioPoison(_) if has_guest => {
            "KVM tells of poisoned pages by a signal to the whole thread"
        }
        Call::Hold(_, Hold::ReadPin) => {
            "nobody pins a page for long to read it but drivers and the kernel's test of pins"
        }
        Call::RmapWalk(_) => "nobody can ask for a walk by page",
        Call::RmapWalkAnon(_) if place != Where::Final => "nobody can ask for a walk by page",
        Call::Hwpoison(_) => {
            "memory does not go bad when it is asked to; MADV_HWPOISON takes the page away, from the machine for good"
        }
        Call::OomReap(_) => "the memory of a process is only taken when it has been killed",
        Call::Migrate(_) => "a machine with one memory node moves no page when asked to",
        Call::Shrink(_) => "nobody can ask reclaim to look at which pages were used",
        Call::OnDisk(_) => "nobody sees what a disk holds but through the page cache",
        Call::UffdioMove(to, from, _) if scenario.pages_of(*from).1 != scenario.pages_of(*to).1 => {
            "pages move to where as many are"
        }
        _ => return None,
    })
}

/// A userfaultfd is closed when the last one closes it who has it.
fn closed_by_one(scenario: &Scenario) -> Result<(), NoCounterpart> {
    for monitor in &scenario.threads {
        let Actor::Monitor(mm) = monitor.actor else {
            continue;
        };
        let inside = |thread: &&Thread| thread.actor == Actor::Cpu(mm) || moves(&thread.body);
        let mut inside = scenario.threads.iter().filter(inside);
        if moves(&monitor.body) && inside.any(|thread| any_call(&thread.body, is_exit)) {
            return refuse(
                monitor.span,
                "who asks for UFFDIO_MOVE is a thread of the process, which ends without it here",
            );
        }
        if any_call(&monitor.body, is_close)
            && inside.any(|thread| any_call(&thread.body, is_of_uffd))
        {
            return refuse(
                monitor.span,
                "two processes have the userfaultfd that one of them closes",
            );
        }
    }
    Ok(())
}

/// What is held by an address is made and used by one thread of the race.
fn held_by_one(scenario: &Scenario) -> Result<(), NoCounterpart> {
    let mut users: Vec<(MappingPage, usize)> = Vec::new();
    for (number, thread) in scenario.threads.iter().enumerate() {
        for call in calls_of(&thread.body) {
            let (Call::Hold(page, _)
            | Call::ReadHeld(page)
            | Call::WriteHeld(page, _)
            | Call::LetGo(page)) = *call
            else {
                continue;
            };
            if users
                .iter()
                .any(|(other, user)| *other == page && *user != number)
            {
                return refuse(thread.span, "two threads use what is held by one address");
            }
            users.push((page, number));
        }
    }
    Ok(())
}

fn is_exit(call: &Call) -> bool {
    matches!(call, Call::Exit)
}

fn is_close(call: &Call) -> bool {
    matches!(call, Call::UffdClose(_))
}

fn check_final(scenario: &Scenario, phase: &Phase) -> Result<(), NoCounterpart> {
    for (index, statement) in phase.body.iter().enumerate() {
        let StatementKind::Call { call, .. } = &statement.kind else {
            continue;
        };
        match call {
            Call::PmdMapped(mapping) if scenario.pages(*mapping) > HALVES => {
                return refuse(
                    statement.span,
                    "smaps does not tell which of several huge pages is mapped whole",
                );
            }
            Call::PageTable(mapping) if scenario.pages(*mapping) > HALVES => {
                return refuse(statement.span, "which of several page tables is there");
            }
            Call::PageTable(mapping)
                if scenario.mappings_of(phase.mm).count() > 1
                    && phase.body[index + 1..]
                        .iter()
                        .any(|later| mentions(later, *mapping)) =>
            {
                return refuse(
                    statement.span,
                    "which of several page tables is there is known only when a mapping is given up",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a statement of a `final` is about a mapping, or about all.
fn mentions(statement: &Statement, mapping: MappingId) -> bool {
    match &statement.kind {
        StatementKind::Load { page, .. } | StatementKind::Store { page, .. } => {
            page.mapping == mapping
        }
        StatementKind::Call { call, .. } => match call {
            Call::PageTable(other) | Call::PmdMapped(other) => *other == mapping,
            Call::UffdWp(page) | Call::RmapWalkAnon(page) => page.mapping == mapping,
            _ => true,
        },
        StatementKind::Map(other) => *other == mapping,
        StatementKind::Repeat { .. } => true,
    }
}

/// What stands for something else than it says, in words.
pub(crate) fn remarks(scenario: &Scenario) -> Vec<&'static str> {
    let mut remarks = Vec::new();
    let mut add = |remark| {
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    };
    for thread in &scenario.threads {
        if matches!(thread.actor, Actor::Monitor(_)) && moves(&thread.body) {
            add("who asks for UFFDIO_MOVE is a thread of the process, as Linux wants it");
        }
    }
    for call in calls(scenario) {
        match call {
            Call::Collapse(_) => {
                add("collapse() is MADV_COLLAPSE of a process that maps the object")
            }
            Call::Scan(..) => add(
                "scan() is MADV_COLLAPSE by another process, and counts what is huge then, unless --khugepaged is given",
            ),
            Call::GupFast(_) | Call::GupFastWrite(..) => {
                add(
                    "gup_fast() is I/O past the page cache (O_DIRECT), which tries with locks if it must",
                );
            }
            Call::Vmsplice(_) => add("vmsplice() tries with locks if it must"),
            Call::Hold(_, Hold::Reference) => {
                add("hold(FOLL_GET) is vmsplice to a pipe, which is read by tee");
            }
            Call::Hold(_, _) => {
                add("hold(FOLL_LONGTERM|FOLL_WRITE) is a fixed buffer of io_uring");
            }
            Call::Reclaim(_) => {
                add(
                    "reclaim() is MADV_PAGEOUT by another process, which does not say what it moved",
                );
            }
            _ => {}
        }
    }
    remarks
}

/// The registers of which nobody knows what should be in them.
pub(crate) fn unknown(scenario: &Scenario) -> Vec<usize> {
    let results = statements(scenario).into_iter();
    let unknown = results.filter_map(|(_, statement)| match &statement.kind {
        StatementKind::Call {
            result: Some(register),
            call: Call::Reclaim(_),
        } => Some(register.index()),
        _ => None,
    });
    unknown.collect()
}
