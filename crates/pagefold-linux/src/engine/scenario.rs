//! Whole scenarios, one actor after the other: the set-up, the threads in the order in which they are declared, what `final` looks at.
//!
//! What the model finds with two entries a table and what the engine does with 512 can so be held against each other. Pages of one
//! group that do not do the same are an outcome of their own, which no model allows, and so are counts of resident pages that do not
//! agree with the page tables, and frames that are not given back.

use pagefold::protocol::Protocol;
use pagefold_litmus::{Actor, Call, MmId, Scenario, Span, Statement, UffdMode, UffdModes};

use super::{Engine, Reach, on_machine};
use crate::plan::NoCounterpart;
use crate::report::{Outcome, Seen};

/// The rules that the engine keeps to on the host machine.
pub const PROTOCOL: Protocol = Protocol::DEFAULT;

/// Runs a scenario once; the places of its pages are drawn from `seed`. It must not be one that waits for ever in the model, as it does
/// so here.
///
/// # Errors
/// If it has something that cannot be done by one after the other, or at full size.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Outcome, NoCounterpart> {
    check(scenario)?;
    Ok(on_machine(|| outcome(scenario, seed)))
}

fn outcome(scenario: &Scenario, seed: u64) -> Outcome {
    let mut engine = Engine::new(scenario, Reach::Groups, seed);
    for phase in &scenario.setup {
        engine.body(Some(phase.mm), &phase.body);
    }
    for thread in &scenario.threads {
        engine.body(thread.actor.mm(), &thread.body);
    }
    for phase in &scenario.finals {
        engine.body(Some(phase.mm), &phase.body);
    }
    let ended = engine.end();
    let mut outcome = ended.registers;
    outcome.extend(ended.uneven.map(|where_| Some(Seen::Word(where_))));
    if ended.kept > 0 {
        outcome.push(Some(Seen::Word(format!("{} frames are kept", ended.kept))));
    }
    outcome
}

impl Engine<'_> {
    /// Statements of a thread, if its process is there.
    fn body(&mut self, mm: Option<MmId>, body: &[Statement]) {
        if mm.is_none_or(|mm| self.is_there(mm)) {
            // If it has ended, then there is no more to do.
            let _ = body
                .iter()
                .try_for_each(|statement| self.step(mm, statement));
        }
    }
}

/// Whether all of a scenario can be done here.
fn check(scenario: &Scenario) -> Result<(), NoCounterpart> {
    let refuse = |span, reason: &str| {
        Err(NoCounterpart {
            reason: reason.to_owned(),
            span,
        })
    };
    if scenario.reuse_frames {
        return refuse(Span::START, "which frame is the next is not told here");
    }
    if scenario.shmem_denied {
        return refuse(
            Span::START,
            "no administrator of this machine denies anything",
        );
    }
    crate::plan::check_sizes(scenario)?;
    for mapping in &scenario.mappings {
        if mapping.uffd.is_some_and(|modes| waits(scenario, modes)) {
            return refuse(mapping.span, NOBODY);
        }
    }
    for thread in &scenario.threads {
        let reason = match thread.actor {
            Actor::Cpu(_) | Actor::Kernel | Actor::Khugepaged | Actor::Reclaim => continue,
            Actor::Device(_) => "a device that walks page tables",
            Actor::Vcpu(_) => "virtual CPUs",
            Actor::Monitor(_) => "a monitor, which waits for others",
        };
        return refuse(thread.span, reason);
    }
    for call in crate::plan::calls(scenario) {
        if let Call::UffdRegister(_, modes) = call
            && waits(scenario, *modes)
        {
            return refuse(Span::START, NOBODY);
        }
        if matches!(call, Call::Hwpoison(_)) {
            return refuse(Span::START, "the memory of this machine does not go bad");
        }
        if matches!(
            call,
            Call::Hold(..) | Call::ReadHeld(_) | Call::WriteHeld(..) | Call::LetGo(_)
        ) {
            return refuse(Span::START, "pages that are held from one call to another");
        }
    }
    Ok(())
}

/// Why accesses and calls that may wait for another thread are not run.
const NOBODY: &str = "nobody is there to answer userfaultfd";

/// Whether an access or a call may wait for another thread that has the userfaultfd.
fn waits(scenario: &Scenario, modes: UffdModes) -> bool {
    let told = [UffdMode::Changes, UffdMode::EventFork, UffdMode::EventRemap];
    let answered = modes.has(UffdMode::Sigbus) || modes.has(UffdMode::WpAsync);
    scenario.threads.len() > 1 && (!answered || told.into_iter().any(|mode| modes.has(mode)))
}
