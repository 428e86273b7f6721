//! Declarations: objects, address spaces, mappings.

use super::names::plural;
use super::{Checker, Here};
use crate::actors::{Actor, Role};
use crate::ast::{Backing, Created, Format, Mapping, Mm, Object, ObjectKind};
use crate::calls::{MMAP, UFFD};
use crate::constants::{Sharing, UffdMode, UffdModes, Writable};
use crate::diagnostic::Diagnostic;
use crate::ids::{MappingId, MmId, ObjectId, ThreadId};
use crate::limits::{MAPPINGS, MMS, OBJECT_PAGES, OBJECTS};
use crate::nearest::did_you_mean;
use crate::parameter::take;
use crate::span::Span;
use crate::syntax::{self, MmItem, Number, StatementKind, Word};
use crate::token::excerpt;

impl<'a> Checker<'a, '_> {
    pub(super) fn declare_format(&mut self, words: &[Word<'a>]) {
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                self.report(Diagnostic::new(
                    word.span,
                    "a second format",
                    "expected one",
                ));
            }
            let names = Format::ALL.map(Format::name);
            if let Some(name) = self.known(*word, "format", &names) {
                self.scenario.format = Format::by_name(&name).unwrap_or_default();
            }
        }
    }

    pub(super) fn declare_object(&mut self, object: &syntax::Object<'a>) {
        let name = object.name;
        if !self.declarable(name, "an object", None) {
            self.lost.insert(name.text);
            return;
        }
        if self.scenario.objects.len() == OBJECTS {
            self.too_many(name.span, "objects", OBJECTS);
            self.lost.insert(name.text);
            return;
        }
        let Some(size) = self.pages(object.pages, "an object") else {
            self.lost.insert(name.text);
            return;
        };
        if let Some(extra) = object.contents.get(size) {
            self.report(
                Diagnostic::new(
                    extra.span,
                    format!("`{}` has no page for this content", name.text),
                    format!("expected at most {}", plural(size, "page")),
                )
                .related(object.pages.span, "the size is given here"),
            );
        }
        let mut contents: Vec<Option<u64>> = object
            .contents
            .iter()
            .map(|content| content.value)
            .collect();
        contents.resize(size, None);
        let id = ObjectId::new(self.scenario.objects.len());
        self.objects.insert(name.text, id);
        self.scenario.objects.push(Object {
            kind: object.kind,
            name: name.text.to_owned(),
            contents,
            span: name.span,
        });
    }

    /// So many pages, of which `what` is to consist.
    pub(crate) fn pages(&mut self, pages: Number, what: &str) -> Option<usize> {
        let size = usize::try_from(pages.value)
            .ok()
            .filter(|_| (1..=OBJECT_PAGES).contains(&pages.value));
        if size.is_none() {
            self.report(Diagnostic::new(
                pages.span,
                format!("{what} cannot have {} pages", pages.value),
                format!("expected 1 to {OBJECT_PAGES}"),
            ));
        }
        size
    }

    pub(super) fn declare_mm(&mut self, mm: &syntax::Mm<'a>) {
        let name = mm.name;
        let usable = self.declarable(name, "an mm", None);
        if usable && self.scenario.mms.len() == MMS {
            self.too_many(name.span, "mms", MMS);
        }
        if !usable || self.scenario.mms.len() == MMS {
            self.lost.insert(name.text);
            return;
        }
        let parent = match mm.parent.map(|parent| self.mm(parent)) {
            Some(None) => {
                self.lost.insert(name.text);
                return;
            }
            Some(parent) => parent,
            None => None,
        };
        let id = MmId::new(self.scenario.mms.len());
        self.mms.insert(name.text, id);
        self.scenario.mms.push(Mm {
            name: name.text.to_owned(),
            parent,
            mappings: Vec::new(),
            span: name.span,
        });
        self.here = Here {
            mm: Some(id),
            ..Here::START
        };
        if let Some(parent) = parent {
            self.fork_mappings(parent, id, name.span);
        }
        for item in &mm.items {
            match item {
                MmItem::Map(name, call) => {
                    let mapping = self.declare_mapping(*name, call, id, Created::Start);
                    self.scenario.mms[id.index()].mappings.extend(mapping);
                }
                MmItem::Call(call) => self.start_call(call),
            }
        }
    }

    /// Declares the mappings that a child gets from its parent: those that the parent has from the start.
    fn fork_mappings(&mut self, parent: MmId, child: MmId, span: Span) {
        for id in self.scenario[parent].mappings.clone() {
            if self.scenario.mappings.len() == MAPPINGS {
                self.too_many(span, "mappings", MAPPINGS);
                return;
            }
            let copy = MappingId::new(self.scenario.mappings.len());
            let mapping = Mapping {
                mm: child,
                uffd: None,
                created: Created::Fork(id),
                ..self.scenario[id].clone()
            };
            // The name is one of the source, where the parent's mapping stands.
            let name = self.mapping_names[&id];
            self.mappings.insert((child, name), copy);
            self.mapping_names.insert(copy, name);
            self.scenario.mappings.push(mapping);
            self.scenario.mms[child.index()].mappings.push(copy);
        }
    }

    /// A call in an mm of the header: only `uffd(x, MISSING)`.
    fn start_call(&mut self, call: &syntax::Call<'a>) {
        if call.name.text != UFFD.name {
            if call.name.text == MMAP.name {
                self.unnamed_mapping(call);
            } else {
                let help = did_you_mean(call.name.text, [MMAP.name, UFFD.name]);
                self.report(
                    Diagnostic::new(
                        call.name.span,
                        format!(
                            "`{}` cannot stand in the `mm` of the header",
                            excerpt(call.name.text)
                        ),
                        "expected `uffd`, or a mapping `x: mmap(...)`",
                    )
                    .maybe_help(help),
                );
            }
            return;
        }
        if !self.arity(&UFFD, call) {
            return;
        }
        let mut arguments = call.arguments.iter();
        let mapping = take::<MappingId>(&mut arguments, self);
        let modes = take::<UffdModes>(&mut arguments, self);
        let (Some(mapping), Some(modes)) = (mapping, modes) else {
            return;
        };
        self.can_be_registered(mapping, modes, call.span);
        let registered = &mut self.scenario.mappings[mapping.index()].uffd;
        if registered.is_some() {
            self.report(
                Diagnostic::new(
                    call.span,
                    "this mapping is registered already",
                    "expected one `uffd` for a mapping",
                )
                .help("join the modes: `uffd(x, MISSING|WP)`"),
            );
        } else {
            *registered = Some(modes);
        }
    }

    /// What `uffd_register` answers with EINVAL cannot be there from the start.
    fn can_be_registered(&mut self, mapping: MappingId, modes: UffdModes, span: Span) {
        let (what, expected) = match self.scenario[mapping].backing {
            Backing::Object(object) if self.scenario[object].kind == ObjectKind::File => (
                "a file on a disk cannot be registered with userfaultfd",
                "expected a mapping of `shmem`, or of anonymous memory",
            ),
            Backing::Anonymous { .. } if modes.has(UffdMode::Minor) => (
                "anonymous memory has no pages that are there and not mapped",
                "expected modes without MINOR",
            ),
            _ => return,
        };
        self.report(Diagnostic::new(span, what, expected));
    }

    /// Declares the mappings that statements create: first those of the set-up, then thread by thread.
    pub(super) fn declare_created(
        &mut self,
        setup: &[syntax::Phase<'a>],
        threads: &[(&syntax::Thread<'a>, Actor)],
    ) {
        for phase in setup {
            // An mm that is not known is reported when its statements are checked.
            let mm = self.mms.get(phase.mm.text).copied();
            self.here = Here {
                role: Role::Cpu,
                mm,
                ..Here::START
            };
            self.declare_created_in(&phase.body, Created::Setup);
        }
        for (index, (thread, actor)) in threads.iter().enumerate() {
            let id = ThreadId::new(index);
            self.here = Here {
                role: actor.spec().role,
                mm: actor.mm(),
                thread: Some(id),
            };
            self.declare_created_in(&thread.body, Created::Thread(id));
        }
    }

    fn declare_created_in(&mut self, body: &[syntax::Statement<'a>], created: Created) {
        for statement in body {
            match &statement.kind {
                StatementKind::Map { name, call } => {
                    let allowed = self.allowed(&MMAP, call.name.span);
                    match self.here.mm {
                        Some(mm) if allowed => {
                            self.declare_mapping(*name, call, mm, created);
                        }
                        _ => {
                            self.lost.insert(name.text);
                        }
                    }
                }
                StatementKind::Repeat { body, .. } => self.lose_results_of_repeat(body),
                StatementKind::Store { .. }
                | StatementKind::Load { .. }
                | StatementKind::Call { .. } => {}
            }
        }
    }

    /// A mapping has one name and is created once: not in a loop.
    fn lose_results_of_repeat(&mut self, body: &[syntax::Statement<'a>]) {
        for statement in body {
            match &statement.kind {
                StatementKind::Map { name, .. } => {
                    self.report(Diagnostic::new(
                        statement.span,
                        format!("`{}` would be mapped again and again", name.text),
                        "expected outside of `repeat`",
                    ));
                    self.lost.insert(name.text);
                }
                StatementKind::Repeat { body, .. } => self.lose_results_of_repeat(body),
                StatementKind::Store { .. }
                | StatementKind::Load { .. }
                | StatementKind::Call { .. } => {}
            }
        }
    }

    fn declare_mapping(
        &mut self,
        name: Word<'a>,
        call: &syntax::Call<'a>,
        mm: MmId,
        created: Created,
    ) -> Option<MappingId> {
        let mapping = self.resolve_mapping(name, call, mm, created);
        if mapping.is_none() {
            self.lost.insert(name.text);
        }
        let mapping = mapping?;
        let id = MappingId::new(self.scenario.mappings.len());
        self.mappings.insert((mm, name.text), id);
        self.mapping_names.insert(id, name.text);
        self.scenario.mappings.push(mapping);
        Some(id)
    }

    fn resolve_mapping(
        &mut self,
        name: Word<'a>,
        call: &syntax::Call<'a>,
        mm: MmId,
        created: Created,
    ) -> Option<Mapping> {
        let declarable = self.declarable(name, "a mapping", Some(mm));
        if call.name.text != MMAP.name {
            let help = did_you_mean(call.name.text, [MMAP.name]);
            self.report(
                Diagnostic::new(
                    call.name.span,
                    format!("`{}` makes no mapping", excerpt(call.name.text)),
                    "expected `mmap` after the colon",
                )
                .maybe_help(help),
            );
            return None;
        }
        if !self.arity(&MMAP, call) {
            return None;
        }
        let mut arguments = call.arguments.iter();
        let backing = take::<Backing>(&mut arguments, self);
        let sharing = take::<Sharing>(&mut arguments, self);
        let writable = take::<Writable>(&mut arguments, self);
        let (backing, sharing, writable) = (backing?, sharing?, writable?);
        if backing.object().is_none() && sharing == Sharing::Shared {
            self.report(
                Diagnostic::new(
                    call.span,
                    "a shared mapping needs an object",
                    "expected `MAP_PRIVATE`",
                )
                .help("shared anonymous memory is an object of its own: `shmem f[2];`, `mmap(f, MAP_SHARED)`"),
            );
            return None;
        }
        let shares_file = sharing == Sharing::Shared
            && backing
                .object()
                .is_some_and(|object| self.scenario[object].kind == ObjectKind::File);
        if writable.0 && !shares_file {
            self.report(Diagnostic::new(
                call.span,
                "this mapping may be written without saying so",
                "expected no third argument",
            ));
            return None;
        }
        if !declarable {
            return None;
        }
        if self.scenario.mappings.len() == MAPPINGS {
            self.too_many(name.span, "mappings", MAPPINGS);
            return None;
        }
        Some(Mapping {
            name: name.text.to_owned(),
            mm,
            backing,
            sharing,
            writable,
            uffd: None,
            created,
            span: name.span,
        })
    }

    /// Reports `mmap(...)` that nothing can refer to.
    pub(super) fn unnamed_mapping(&mut self, call: &syntax::Call<'a>) {
        self.report(
            Diagnostic::new(
                call.span,
                "this mapping has no name",
                "expected `NAME:` before it",
            )
            .help("write `x: mmap(f, MAP_SHARED);`"),
        );
    }
}
