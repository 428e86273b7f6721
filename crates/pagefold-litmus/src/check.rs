//! From syntax to the AST: names resolved, numbers within bounds, every call allowed where it stands.
//!
//! Declarations come first, all of them, so that a thread may use a mapping that another thread of its mm
//! creates. Something that cannot be made sense of is reported, left out, and its name kept as lost, so that
//! its uses are not reported too.

mod argument;
mod condition;
mod expect;
mod header;
mod names;
mod register;
mod statement;

use std::collections::{HashMap, HashSet};

use crate::Vocabulary;
use crate::actors::{Actor, Role};
use crate::ast::{Format, Phase, Scenario, Thread};
use crate::diagnostic::{Diagnostic, Sink};
use crate::ids::{MappingId, MmId, ObjectId, RegisterId, ThreadId};
use crate::limits::{DIAGNOSTICS, THREADS};
use crate::nearest::did_you_mean;
use crate::span::Span;
use crate::syntax::{self, File, Word};

/// Checks `file`. The scenario is whole only if nothing was put into `sink`.
pub(crate) fn check(file: File<'_>, vocabulary: &Vocabulary<'_>, sink: &mut Sink) -> Scenario {
    let scenario = Scenario {
        name: file.name.to_owned(),
        description: file.description,
        objects: Vec::new(),
        mms: Vec::new(),
        mappings: Vec::new(),
        registers: Vec::new(),
        reuse_frames: file.reuse_frames,
        shmem_denied: file.shmem_denied,
        format: Format::default(),
        setup: Vec::new(),
        threads: Vec::new(),
        finals: Vec::new(),
        condition: None,
        expectations: Vec::new(),
    };
    let mut checker = Checker {
        scenario,
        sink,
        lost: file.lost,
        objects: HashMap::new(),
        mms: HashMap::new(),
        mappings: HashMap::new(),
        mapping_names: HashMap::new(),
        registers: HashMap::new(),
        writers: Vec::new(),
        created: HashSet::new(),
        here: Here::START,
    };

    for object in &file.objects {
        checker.declare_object(object);
    }
    for mm in &file.mms {
        checker.declare_mm(mm);
    }
    checker.declare_format(&file.formats);
    let threads = checker.declare_threads(&file.threads);
    checker.declare_created(&file.setup, &threads);

    for phase in &file.setup {
        let setup = checker.phase(phase, Role::Cpu);
        checker.scenario.setup.extend(setup);
    }
    for (index, (thread, actor)) in threads.iter().enumerate() {
        let thread = checker.thread(ThreadId::new(index), thread, *actor);
        checker.scenario.threads.push(thread);
    }
    for phase in &file.finals {
        let phase = checker.phase(phase, Role::Final);
        checker.scenario.finals.extend(phase);
    }
    if let Some(condition) = &file.condition {
        checker.scenario.condition = checker.condition(condition);
    }
    let quantifier = file
        .condition
        .as_ref()
        .map(|condition| condition.quantifier);
    checker.expectations(&file.expectations, quantifier, vocabulary);
    checker.scenario
}

/// The scenario under construction, and where in the source the check is.
pub(crate) struct Checker<'a, 's> {
    scenario: Scenario,
    sink: &'s mut Sink,
    lost: HashSet<&'a str>,
    objects: HashMap<&'a str, ObjectId>,
    mms: HashMap<&'a str, MmId>,
    mappings: HashMap<(MmId, &'a str), MappingId>,
    mapping_names: HashMap<MappingId, &'a str>,
    registers: HashMap<&'a str, RegisterId>,
    /// The thread that writes each register, if it is one.
    writers: Vec<Option<ThreadId>>,
    /// The mappings created by the statements checked so far.
    created: HashSet<MappingId>,
    here: Here,
}

/// Where the statement that is being checked stands.
#[derive(Clone, Copy)]
struct Here {
    role: Role,
    mm: Option<MmId>,
    thread: Option<ThreadId>,
}

impl Here {
    const START: Self = Self {
        role: Role::Start,
        mm: None,
        thread: None,
    };
}

impl<'a> Checker<'a, '_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Reports that there are more of something than the language has room for.
    fn too_many(&mut self, span: Span, what: &str, most: usize) {
        self.report(Diagnostic::new(
            span,
            format!("too many {what}"),
            format!("expected at most {most}"),
        ));
    }

    /// The threads that can be made sense of, with their actors resolved.
    fn declare_threads<'f>(
        &mut self,
        threads: &'f [syntax::Thread<'a>],
    ) -> Vec<(&'f syntax::Thread<'a>, Actor)> {
        let mut known: HashMap<&str, Span> = HashMap::new();
        let mut resolved = Vec::new();
        for thread in threads {
            if resolved.len() == THREADS {
                self.too_many(thread.span, "threads", THREADS);
                self.lose_thread(thread);
                break;
            }
            let name = thread.name;
            let mut usable = self.well_named(name, "a thread");
            if let Some(earlier) = known.insert(name.text, name.span) {
                self.report(
                    Diagnostic::new(
                        name.span,
                        format!("a second thread `{}`", name.text),
                        "expected another name",
                    )
                    .related(earlier, "the first is here"),
                );
                usable = false;
            }
            match self.actor(thread.actor) {
                Some(actor) if usable => resolved.push((thread, actor)),
                _ => self.lose_thread(thread),
            }
        }
        resolved
    }

    fn actor(&mut self, actor: syntax::Actor<'a>) -> Option<Actor> {
        let mm = match actor.mm {
            Some(mm) => Some(self.mm(mm)?),
            None => None,
        };
        Actor::new(actor.spec, mm)
    }

    fn thread(&mut self, id: ThreadId, thread: &syntax::Thread<'a>, actor: Actor) -> Thread {
        self.here = Here {
            role: actor.spec().role,
            mm: actor.mm(),
            thread: Some(id),
        };
        Thread {
            name: thread.name.text.to_owned(),
            actor,
            body: self.statements(&thread.body),
            span: thread.span,
        }
    }

    fn phase(&mut self, phase: &syntax::Phase<'a>, role: Role) -> Option<Phase> {
        let Some(mm) = self.mm(phase.mm) else {
            self.lose_results(&phase.body);
            return None;
        };
        self.here = Here {
            role,
            mm: Some(mm),
            thread: None,
        };
        Some(Phase {
            mm,
            body: self.statements(&phase.body),
            span: phase.span,
        })
    }

    fn lose_thread(&mut self, thread: &syntax::Thread<'a>) {
        self.lose_results(&thread.body);
    }

    /// Keeps the names that statements would have introduced as lost.
    fn lose_results(&mut self, statements: &[syntax::Statement<'a>]) {
        for statement in statements {
            match &statement.kind {
                syntax::StatementKind::Load { result, .. }
                | syntax::StatementKind::Call { result, .. } => {
                    self.lost.extend(result.map(|word| word.text));
                }
                syntax::StatementKind::Map { name, .. } => {
                    self.lost.insert(name.text);
                }
                syntax::StatementKind::Repeat { body, .. } => self.lose_results(body),
                syntax::StatementKind::Store { .. } => {}
            }
        }
    }

    /// Whether looking further is a waste, because nobody would see what is found.
    fn enough(&self) -> bool {
        self.sink.is_full()
    }
}

/// A list of names for a message, or nothing if it would be too long to read.
fn listing<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().take(DIAGNOSTICS).collect();
    match names.as_slice() {
        [] => None,
        [name] => Some(format!("the only one is `{name}`")),
        names if names.len() == DIAGNOSTICS => None,
        names => Some(format!("known are `{}`", names.join("`, `"))),
    }
}

/// A help line: the name that was probably meant, or else all there are.
fn suggest<'n>(word: Word<'_>, names: impl IntoIterator<Item = &'n str> + Clone) -> Option<String> {
    did_you_mean(word.text, names.clone()).or_else(|| listing(names))
}
