//! Random differential testing: the same sequence of calls and accesses, step by step, on the real kernel and on the engine at
//! 512 entries a table.
//!
//! Nobody races, so that each step has one outcome, and both sides have to show the same: what the call gave, what each entry
//! says (page by page, not only those that represent others), what is mapped where and how much of it is there (`smaps`), what mapped pages hold, which pages
//! objects have. A difference is shrunk to the shortest sequence that still has one, and is a scenario.
//!
//! `sequence.rs` says what a sequence is, `generate.rs` draws one; `kernel.rs` and, in a process of its own, `server.rs` with the crate's
//! `engine` run it, `observe.rs` and `areas.rs` say what is looked at; `compare.rs` compares; `explained.rs` is the list of what is known to differ, and why.

pub(crate) mod areas;
mod compare;
mod explained;
mod generate;
mod kernel;
pub(crate) mod observe;
pub(crate) mod sequence;
mod server;
mod situation;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pagefold::protocol::Protocol;
use pagefold_litmus::{Scenario, shrink};
use rustix::process::Pid;

use crate::board::Board;
use crate::plan::Program;
use crate::random::Random;
use crate::report::Seen;
use crate::sys::process;
use crate::sys::shared::Shared;
use crate::{Machine, Unable, is_alone, kernel as running};
pub use explained::Known;

use compare::{Compared, Difference, What};
use kernel::Trouble;
use observe::Observed;
use sequence::{Sequence, VOCABULARY, result_of};
use server::{Answer, Request};

/// How long the engine may take for a sequence.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a sequence is run on the kernel before a difference is believed: the kernel may have references of its own.
const TRIES: u32 = 3;

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cases {
    /// What sequences are drawn from.
    pub seed: u64,
    /// How many.
    pub cases: u64,
    /// No further than so many differences.
    pub differences: usize,
    /// The rules of the engine.
    pub protocol: Protocol,
}

/// Where the engine does not do as the kernel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The number of the sequence.
    pub case: u64,
    /// The shortest sequence that differs, with what the kernel's calls gave as the condition.
    pub text: String,
    /// The step after which it does.
    pub step: String,
    /// What differs.
    pub what: Vec<String>,
    /// How many sequences were tried to shorten it.
    pub probes: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differed {
    /// Sequences that were run.
    pub cases: u64,
    /// Their steps.
    pub steps: u64,
    /// Sequences that differed at first, and not when they were run again.
    pub unsteady: u64,
    /// Sequences that ended with a difference that is known.
    pub explained: BTreeMap<Known, u64>,
    /// The other differences.
    pub found: Vec<Differing>,
    /// What the kernel complained of meanwhile.
    pub complaints: Vec<crate::kernel_log::Complaint>,
}

/// Runs sequences on both sides until a limit is met.
pub(crate) fn run(
    machine: &Machine,
    wanted: &Cases,
    mut tell: impl FnMut(&Differed),
) -> Result<Differed, Unable> {
    if !is_alone() {
        let what = "a process of one thread to fork from: this one has more";
        return Err(Unable::Missing(what.to_owned()));
    }
    let mut log = running::Log::listen();
    let mut differed = Differed::default();
    let mut sides = Sides {
        machine,
        board: Shared::new().map_err(missing)?,
        engine: None,
        protocol: wanted.protocol,
        hides_poison: !running::tells_of_poison(),
    };
    for case in 0..wanted.cases {
        let mut random = Random::of_case(wanted.seed, case);
        let text = generate::generate(&mut random);
        let places = wanted.seed ^ case;
        let scenario = pagefold_litmus::parse(&text, "random", &VOCABULARY)
            .map_err(|error| Unable::Missing(error.render(&text, false)))?;
        let Some(sequence) = Sequence::of(&scenario) else {
            continue;
        };
        if Program::new(&sequence.scenario).is_err() {
            continue;
        }
        differed.cases += 1;
        differed.steps += sequence.steps().count() as u64;
        match sides.differ(&text, &sequence, places)? {
            Outcome::Same => {}
            Outcome::Explained(known) => *differed.explained.entry(known).or_default() += 1,
            Outcome::Different(_) => match sides.shortest(&scenario, places)? {
                Some((shortest, probes)) => {
                    differed.found.push(Differing {
                        case,
                        probes,
                        ..shortest
                    });
                }
                None => differed.unsteady += 1,
            },
        }
        tell(&differed);
        if differed.found.len() >= wanted.differences {
            break;
        }
    }
    differed.complaints = log.complaints();
    Ok(differed)
}

fn missing(error: rustix::io::Errno) -> Unable {
    Unable::Missing(format!("processes and memory files: {error}"))
}

/// Both sides.
struct Sides<'m> {
    machine: &'m Machine,
    board: Shared<Board>,
    /// The process of the engine.
    engine: Option<(Pid, UnixStream)>,
    protocol: Protocol,
    hides_poison: bool,
}

impl Drop for Sides<'_> {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// A difference, and what the kernel showed.
type Found = (Difference, Vec<Observed>);

/// How a sequence came out.
enum Outcome {
    /// The same on both sides.
    Same,
    /// The same up to a difference that is known.
    Explained(Known),
    /// Not the same, however often it is run.
    Different(Found),
}

impl Sides<'_> {
    /// Whether a sequence differs, also when it is run again.
    fn differ(&mut self, text: &str, sequence: &Sequence, places: u64) -> Result<Outcome, Unable> {
        let request = Request {
            text: text.to_owned(),
            places,
        };
        let mut engine: Option<Answer> = None;
        let mut tries = 0;
        let version = self.machine.kernel.version;
        loop {
            let asked = engine.is_none();
            if asked {
                self.ask(&request)?;
            }
            let kernel = self.kernel(sequence, places)?;
            let answer = match engine.take() {
                Some(answer) => answer,
                None => self.answer(),
            };
            let compared = match (&kernel, &answer) {
                (Ok(kernel), Ok(engine)) => compare::compare(sequence, version, kernel, engine),
                (Err((step, why)), _) => compare::hang(sequence, version, *step, why),
                (_, Err(why)) => Compared::Different(Difference {
                    step: 0,
                    what: vec![What::Given(why.clone())],
                }),
            };
            engine = Some(answer);
            tries += 1;
            match compared {
                Compared::Same => return Ok(Outcome::Same),
                Compared::Explained(known) => return Ok(Outcome::Explained(known)),
                Compared::Different(difference) if tries == TRIES => {
                    let kernel = kernel.unwrap_or_default();
                    return Ok(Outcome::Different((difference, kernel)));
                }
                Compared::Different(_) => {}
            }
        }
    }

    /// The kernel's side, or how it broke.
    fn kernel(
        &mut self,
        sequence: &Sequence,
        places: u64,
    ) -> Result<Result<Vec<Observed>, (usize, String)>, Unable> {
        let program = Program::new(&sequence.scenario)?;
        if let Some(what) = self.machine.kernel.lacks_for(&program) {
            return Err(Unable::Missing(what));
        }
        let zero_page = self.machine.zero_page;
        match kernel::run(sequence, &program, &self.board, zero_page, places) {
            Ok(seen) => Ok(Ok(seen)),
            Err(Trouble::Stuck(step, why)) => {
                // Children of who was killed may still look at the old one for a while.
                self.board = Shared::new().map_err(missing)?;
                Ok(Err((step.unwrap_or(0), why)))
            }
            Err(Trouble::System(error)) => Err(missing(error)),
        }
    }

    /// Asks the engine's process, which is made if there is none.
    fn ask(&mut self, request: &Request) -> Result<(), Unable> {
        if self.engine.is_none() {
            let say = |error: std::io::Error| Unable::Missing(format!("processes: {error}"));
            let (here, there) = UnixStream::pair().map_err(say)?;
            here.set_read_timeout(Some(PATIENCE)).map_err(say)?;
            let protocol = self.protocol;
            let pid = process::fork(|| server::serve(&there, protocol)).map_err(missing)?;
            self.engine = Some((pid, here));
        }
        if let Some((_, stream)) = &self.engine
            && server::send(stream, request).is_err()
        {
            self.dismiss();
        }
        Ok(())
    }

    /// The engine's answer; an error if it broke.
    fn answer(&mut self) -> Answer {
        let answer = match &self.engine {
            Some((_, stream)) => server::receive::<Answer>(stream)
                .unwrap_or_else(|error| Err(format!("the engine does not answer: {error}"))),
            None => Err("the engine is gone".to_owned()),
        };
        if answer.is_err() {
            self.dismiss();
        }
        answer.map(|mut seen| {
            if self.hides_poison {
                for given in seen.iter_mut().filter_map(|seen| seen.given.as_mut()) {
                    if *given == Seen::Word("HWPOISON".to_owned()) {
                        *given = Seen::Word("SIGBUS".to_owned());
                    }
                }
            }
            seen
        })
    }

    fn dismiss(&mut self) {
        if let Some((pid, _)) = self.engine.take() {
            process::kill(pid);
        }
    }

    /// The shortest sequence that differs, if this one still does.
    fn shortest(
        &mut self,
        scenario: &Scenario,
        places: u64,
    ) -> Result<Option<(Differing, usize)>, Unable> {
        let mut trouble = None;
        let shortest = shorten(scenario, |shorter, sequence| {
            if trouble.is_some() || Program::new(&sequence.scenario).is_err() {
                return None;
            }
            match self.differ(&shorter.to_string(), sequence, places) {
                Ok(Outcome::Different(found)) => Some(found),
                Ok(Outcome::Same | Outcome::Explained(_)) => None,
                Err(error) => {
                    trouble = Some(error);
                    None
                }
            }
        });
        trouble.map_or(Ok(shortest), Err)
    }
}

/// Leaves out of a sequence what is not needed for `differs` to find something. Nothing, if it does not in the first place.
fn shorten(
    scenario: &Scenario,
    mut differs: impl FnMut(&Scenario, &Sequence) -> Option<Found>,
) -> Option<(Differing, usize)> {
    let mut last = None;
    let mut keeps = |shorter: &Scenario| {
        let Some(sequence) = Sequence::of(shorter) else {
            return false;
        };
        let Some(found) = differs(shorter, &sequence) else {
            return false;
        };
        last = Some((sequence, found));
        true
    };
    if !keeps(scenario) {
        return None;
    }
    let shrunk = shrink(scenario, &VOCABULARY, &mut keeps);
    last.map(|(sequence, (difference, kernel))| {
        let differing = describe(&shrunk.scenario, &sequence, &difference, &kernel);
        (differing, shrunk.probes)
    })
}

/// A difference for people.
fn describe(
    scenario: &Scenario,
    sequence: &Sequence,
    difference: &Difference,
    kernel: &[Observed],
) -> Differing {
    let step = sequence.steps().nth(difference.step);
    let step = step.map_or(String::new(), |(mm, statement)| {
        let text = sequence.scenario.print_statement(statement);
        format!("{}: {text}", sequence.scenario[mm].name)
    });
    let given = sequence.steps().zip(kernel);
    let given = given.filter_map(|((_, statement), seen)| {
        let register = &sequence.scenario[result_of(statement)?].name;
        Some(format!("{register} = {}", seen.given.as_ref()?))
    });
    let given: Vec<String> = given.collect();
    let mut text = scenario.to_string();
    if !given.is_empty() {
        text = format!("{}\nforall ({})\n", text.trim_end(), given.join(" /\\ "));
    }
    Differing {
        case: 0,
        text,
        step,
        what: difference
            .what
            .iter()
            .map(|what| what.text().to_owned())
            .collect(),
        probes: 0,
    }
}

#[cfg(test)]
mod tests;
