//! The parts of a scenario that can be left out, and the scenario without one of them.
//!
//! Leaving something out leaves out what makes no sense without it: with an address space its mappings and
//! threads, with a mapping the statements that use it. What is left is written as text and has to be parsed
//! again, which gives everything new ids. The text need not be a good scenario: a condition may read
//! a register that nothing writes any more.

use crate::ast::{
    Backing, Created, Format, Mapping, MappingPage, MappingRange, Object, ObjectPage, Scenario,
    Statement, StatementKind,
};
use crate::calls::Call;
use crate::ids::{MappingId, MmId, ObjectId, ThreadId};

/// Something that can be left out of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The condition.
    Condition,
    /// An address space.
    Mm(MmId),
    /// An object.
    Object(ObjectId),
    /// One of those who race.
    Thread(ThreadId),
    /// A mapping.
    Mapping(MappingId),
    /// All statements of a phase of the set-up, or of a `final`.
    Phase(Block),
    /// A statement that is no `mmap`.
    Statement(Place),
    /// The `repeat` around statements, which run once instead.
    Loop(Place),
    /// One round of a `repeat`.
    Round(Place),
    /// The register for a result.
    Result(Place),
    /// The registration of a mapping with userfaultfd.
    Uffd(MappingId),
    /// The last page of an object.
    LastPage(ObjectId),
    /// The second half of the pages of an object.
    SecondHalf(ObjectId),
    /// The last page of anonymous memory.
    LastAnonymous(MappingId),
    /// What a page holds at the start.
    Content(ObjectPage),
    /// That frames are used again.
    ReuseFrames,
    /// That huge pages of shmem are denied.
    ShmemDenied,
    /// That entries are not the usual ones.
    Format,
}

/// Statements that run one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// A phase of the set-up, by its number.
    Setup(usize),
    /// A thread.
    Thread(ThreadId),
    /// A `final`, by its number.
    Final(usize),
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub block: Block,
    /// Its number in the block, and if that is a `repeat`, its number in there, and so on.
    pub path: Vec<usize>,
}

/// What an argument of a call refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Nothing,
    Mapping(MappingId),
    MappingPage(MappingPage),
    MappingRange(MappingRange),
    Object(ObjectId),
    ObjectPage(ObjectPage),
    Mm(MmId),
}

impl Scenario {
    /// The scenario without what is only said about it: its description, and what is expected.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            description: None,
            expectations: Vec::new(),
            ..self.clone()
        }
    }

    /// Everything that can be left out, the largest parts first.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        parts.extend(self.condition.as_ref().map(|_| Part::Condition));
        parts.extend((0..self.mms.len()).map(|id| Part::Mm(MmId::new(id))));
        parts.extend((0..self.objects.len()).map(|id| Part::Object(ObjectId::new(id))));
        parts.extend((0..self.threads.len()).map(|id| Part::Thread(ThreadId::new(id))));
        // What a child maps goes with what its parent maps.
        let own = |mapping: &&MappingId| !matches!(self[**mapping].created, Created::Fork(_));
        let mappings: Vec<MappingId> = (0..self.mappings.len()).map(MappingId::new).collect();
        parts.extend(mappings.iter().filter(own).map(|id| Part::Mapping(*id)));
        let mut blocks: Vec<(Block, &[Statement])> = Vec::new();
        for (number, phase) in self.setup.iter().enumerate() {
            blocks.push((Block::Setup(number), &phase.body));
        }
        for (number, phase) in self.finals.iter().enumerate() {
            blocks.push((Block::Final(number), &phase.body));
        }
        parts.extend(blocks.iter().map(|(block, _)| Part::Phase(*block)));
        for (number, thread) in self.threads.iter().enumerate() {
            blocks.push((Block::Thread(ThreadId::new(number)), &thread.body));
        }
        let mut details = Vec::new();
        for (block, body) in blocks {
            let mut place = Place {
                block,
                path: Vec::new(),
            };
            add_statements(body, &mut place, &mut parts, &mut details);
        }
        parts.extend(details);
        for (number, mapping) in self.mappings.iter().enumerate() {
            let uffd = mapping.uffd.map(|_| Part::Uffd(MappingId::new(number)));
            parts.extend(uffd);
            let is_own = !matches!(mapping.created, Created::Fork(_));
            if is_own && matches!(mapping.backing, Backing::Anonymous { pages } if pages > 1) {
                parts.push(Part::LastAnonymous(MappingId::new(number)));
            }
        }
        for (number, object) in self.objects.iter().enumerate() {
            let id = ObjectId::new(number);
            if object.pages() > 2 {
                parts.push(Part::SecondHalf(id));
            }
            if object.pages() > 1 {
                parts.push(Part::LastPage(id));
            }
            for page in (0..object.pages()).filter(|page| object.contents[*page].is_some()) {
                parts.push(Part::Content(ObjectPage { object: id, page }));
            }
        }
        parts.extend(self.reuse_frames.then_some(Part::ReuseFrames));
        parts.extend(self.shmem_denied.then_some(Part::ShmemDenied));
        parts.extend((self.format != Format::default()).then_some(Part::Format));
        parts
    }

    /// The text of the scenario without `part`, and without all that makes no sense without it.
    pub fn without(&self, part: &Part) -> String {
        let mut rest = Rest::of(self);
        rest.leave_out(part);
        rest.scenario.print_without(&rest.objects, &rest.mms)
    }

    /// What `part` is, as it is written or in words.
    pub fn describe_part(&self, part: &Part) -> String {
        match part {
            Part::Condition => match &self.condition {
                Some(condition) => self.print_condition(condition),
                None => String::new(),
            },
            Part::Mm(id) => format!("mm {}", self[*id].name),
            Part::Object(id) => format!("{} {}", self[*id].kind.name(), self[*id].name),
            Part::Thread(id) => {
                let thread = &self[*id];
                let actor = self.print_actor(thread.actor);
                format!("{} ({actor})", thread.name)
            }
            Part::Mapping(id) => {
                let mapping = &self[*id];
                format!("mapping {} of {}", mapping.name, self[mapping.mm].name)
            }
            Part::Phase(block) => self.describe_block(*block),
            Part::Statement(place) => self.describe_place("", place),
            Part::Loop(place) => self.describe_place("the loop of ", place),
            Part::Round(place) => self.describe_place("a round of ", place),
            Part::Result(place) => self.describe_place("the register of ", place),
            Part::Uffd(id) => format!("uffd({})", self[*id].name),
            Part::LastPage(id) => {
                let object = &self[*id];
                format!("page {}[{}]", object.name, object.pages() - 1)
            }
            Part::LastAnonymous(id) => {
                format!("page {}[{}]", self[*id].name, self.pages(*id) - 1)
            }
            Part::SecondHalf(id) => {
                let object = &self[*id];
                let pages = object.pages();
                format!(
                    "pages {0}[{1}] to {0}[{2}]",
                    object.name,
                    pages / 2,
                    pages - 1
                )
            }
            Part::Content(at) => {
                format!("the content of {}[{}]", self[at.object].name, at.page)
            }
            Part::ReuseFrames => "reuse frames".to_owned(),
            Part::ShmemDenied => "shmem_enabled deny".to_owned(),
            Part::Format => format!("format {}", self.format.name()),
        }
    }

    fn describe_place(&self, what: &str, place: &Place) -> String {
        let statement = self.statement(place);
        let text = statement.map_or(String::new(), |statement| self.print_statement(statement));
        format!("{what}{text} in {}", self.describe_block(place.block))
    }

    fn describe_block(&self, block: Block) -> String {
        match block {
            Block::Setup(number) => {
                format!("the set-up of {}", self[self.setup[number].mm].name)
            }
            Block::Thread(id) => self[id].name.clone(),
            Block::Final(number) => format!("final({})", self[self.finals[number].mm].name),
        }
    }

    fn statement(&self, place: &Place) -> Option<&Statement> {
        let body = match place.block {
            Block::Setup(number) => &self.setup[number].body,
            Block::Thread(id) => &self[id].body,
            Block::Final(number) => &self.finals[number].body,
        };
        let (last, before) = place.path.split_last()?;
        let body = before
            .iter()
            .try_fold(body, |body, number| match &body.get(*number)?.kind {
                StatementKind::Repeat { body, .. } => Some(body),
                _ => None,
            })?;
        body.get(*last)
    }
}

/// Adds what can be left out of `body`, which stands at `place`.
fn add_statements(
    body: &[Statement],
    place: &mut Place,
    parts: &mut Vec<Part>,
    details: &mut Vec<Part>,
) {
    for (number, statement) in body.iter().enumerate() {
        if let StatementKind::Map(_) = statement.kind {
            // It is its mapping that can be left out.
            continue;
        }
        place.path.push(number);
        parts.push(Part::Statement(place.clone()));
        match &statement.kind {
            StatementKind::Repeat { times, body } => {
                parts.push(Part::Loop(place.clone()));
                if *times > 1 {
                    parts.push(Part::Round(place.clone()));
                }
                add_statements(body, place, parts, details);
            }
            StatementKind::Load { result, .. } | StatementKind::Call { result, .. } => {
                details.extend(result.map(|_| Part::Result(place.clone())));
            }
            StatementKind::Store { .. } | StatementKind::Map(_) => {}
        }
        place.path.pop();
    }
}

/// A scenario on the way to having less in it. Rows of its tables stay, as they are what ids refer to; those that
/// are left out are not printed.
struct Rest {
    scenario: Scenario,
    mms: Vec<MmId>,
    objects: Vec<ObjectId>,
    mappings: Vec<MappingId>,
}

impl Rest {
    fn of(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            mms: Vec::new(),
            objects: Vec::new(),
            mappings: Vec::new(),
        }
    }

    fn leave_out(&mut self, part: &Part) {
        let scenario = &mut self.scenario;
        match part {
            Part::Condition => scenario.condition = None,
            Part::Mm(mm) => {
                let mut gone = vec![*mm];
                for (number, row) in scenario.mms.iter().enumerate() {
                    // A child is declared after its parent.
                    if row.parent.is_some_and(|parent| gone.contains(&parent)) {
                        gone.push(MmId::new(number));
                    }
                }
                let is_gone = |mm: MmId| gone.contains(&mm);
                scenario
                    .threads
                    .retain(|thread| !thread.actor.mm().is_some_and(is_gone));
                scenario.setup.retain(|phase| !is_gone(phase.mm));
                scenario.finals.retain(|phase| !is_gone(phase.mm));
                self.mms.extend_from_slice(&gone);
                self.leave_out_mappings(|mapping| gone.contains(&mapping.mm));
            }
            Part::Object(object) => {
                self.objects.push(*object);
                self.leave_out_mappings(|mapping| mapping.backing == Backing::Object(*object));
            }
            Part::Mapping(id) => {
                let mut gone = self.with_copies(*id);
                self.mappings.append(&mut gone);
                self.leave_out_uses();
            }
            Part::Thread(id) => {
                scenario.threads.remove(id.index());
                // What only it could have mapped is not there for others either.
                let created = Created::Thread(*id);
                self.leave_out_mappings(|mapping| mapping.created == created);
            }
            Part::Phase(Block::Setup(number)) => {
                scenario.setup.remove(*number);
            }
            Part::Phase(Block::Final(number)) => {
                scenario.finals.remove(*number);
            }
            Part::Phase(Block::Thread(id)) => scenario.threads[id.index()].body.clear(),
            Part::Statement(place) => self.edit(place, |body, number| {
                body.remove(number);
            }),
            Part::Loop(place) => self.edit(place, |body, number| {
                if let StatementKind::Repeat { body: inner, .. } = &mut body[number].kind {
                    let inner = std::mem::take(inner);
                    body.splice(number..=number, inner);
                }
            }),
            Part::Round(place) => self.edit(place, |body, number| {
                if let StatementKind::Repeat { times, .. } = &mut body[number].kind {
                    *times -= 1;
                }
            }),
            Part::Result(place) => self.edit(place, |body, number| {
                if let StatementKind::Load { result, .. } | StatementKind::Call { result, .. } =
                    &mut body[number].kind
                {
                    *result = None;
                }
            }),
            Part::Uffd(id) => scenario.mappings[id.index()].uffd = None,
            Part::LastPage(id) => self.shorten(*id, |pages| pages - 1),
            Part::SecondHalf(id) => self.shorten(*id, |pages| pages / 2),
            Part::LastAnonymous(id) => {
                for id in self.with_copies(*id) {
                    let mapping = &mut self.scenario.mappings[id.index()];
                    if let Backing::Anonymous { pages } = &mut mapping.backing {
                        *pages -= 1;
                    }
                }
                self.leave_out_uses();
            }
            Part::Content(at) => {
                scenario.objects[at.object.index()].contents[at.page] = None;
            }
            Part::ReuseFrames => scenario.reuse_frames = false,
            Part::ShmemDenied => scenario.shmem_denied = false,
            Part::Format => scenario.format = Format::default(),
        }
        self.leave_out_empty();
    }

    /// A mapping, and what fork makes of it in children.
    fn with_copies(&self, id: MappingId) -> Vec<MappingId> {
        let mut copies = vec![id];
        for (number, mapping) in self.scenario.mappings.iter().enumerate() {
            if matches!(mapping.created, Created::Fork(of) if copies.contains(&of)) {
                copies.push(MappingId::new(number));
            }
        }
        copies
    }

    fn leave_out_mappings(&mut self, which: impl Fn(&Mapping) -> bool) {
        let mappings = self.scenario.mappings.iter().enumerate();
        let ids = mappings.filter(|(_, mapping)| which(mapping));
        self.mappings
            .extend(ids.map(|(number, _)| MappingId::new(number)));
        self.leave_out_uses();
    }

    fn shorten(&mut self, id: ObjectId, pages: impl Fn(usize) -> usize) {
        let contents = &mut self.scenario.objects[id.index()].contents;
        contents.truncate(pages(contents.len()));
        self.leave_out_uses();
    }

    /// Leaves out the statements that use what is not there any more.
    fn leave_out_uses(&mut self) {
        let Self {
            scenario,
            mms,
            objects,
            mappings,
        } = self;
        for mm in &mut scenario.mms {
            mm.mappings.retain(|mapping| !mappings.contains(mapping));
        }
        let mapped: Vec<usize> = (0..scenario.mappings.len())
            .map(|id| scenario.pages(MappingId::new(id)))
            .collect();
        let sizes: Vec<usize> = scenario.objects.iter().map(Object::pages).collect();
        let is_there = |reference: Reference| match reference {
            Reference::Nothing => true,
            Reference::Mapping(id) => !mappings.contains(&id),
            Reference::MappingPage(at) => {
                !mappings.contains(&at.mapping) && at.page < mapped[at.mapping.index()]
            }
            Reference::MappingRange(MappingRange { mapping, pages }) => {
                !mappings.contains(&mapping)
                    && pages.is_none_or(|pages| pages.end <= mapped[mapping.index()])
            }
            Reference::Object(id) => !objects.contains(&id),
            Reference::ObjectPage(at) => {
                !objects.contains(&at.object) && at.page < sizes[at.object.index()]
            }
            Reference::Mm(id) => !mms.contains(&id),
        };
        for body in bodies(scenario) {
            retain(body, &is_there);
        }
    }

    /// Leaves out what has no statement in it, except for threads: being there may matter.
    fn leave_out_empty(&mut self) {
        for body in bodies(&mut self.scenario) {
            retain(body, &|_| true);
        }
        self.scenario.setup.retain(|phase| !phase.body.is_empty());
        self.scenario.finals.retain(|phase| !phase.body.is_empty());
    }

    /// Changes the block in which the statement at `place` stands; it is handed over with its number.
    fn edit(&mut self, place: &Place, edit: impl FnOnce(&mut Vec<Statement>, usize)) {
        let scenario = &mut self.scenario;
        let mut body = match place.block {
            Block::Setup(number) => &mut scenario.setup[number].body,
            Block::Thread(id) => &mut scenario.threads[id.index()].body,
            Block::Final(number) => &mut scenario.finals[number].body,
        };
        let Some((last, before)) = place.path.split_last() else {
            return;
        };
        for number in before {
            match &mut body[*number].kind {
                StatementKind::Repeat { body: inner, .. } => body = inner,
                _ => return,
            }
        }
        edit(body, *last);
    }
}

fn bodies(scenario: &mut Scenario) -> impl Iterator<Item = &mut Vec<Statement>> {
    let setup = scenario.setup.iter_mut().map(|phase| &mut phase.body);
    let threads = scenario.threads.iter_mut().map(|thread| &mut thread.body);
    let finals = scenario.finals.iter_mut().map(|phase| &mut phase.body);
    setup.chain(threads).chain(finals)
}

/// Keeps the statements that refer only to what is there, and loops with something in them.
fn retain(body: &mut Vec<Statement>, is_there: &impl Fn(Reference) -> bool) {
    body.retain_mut(|statement| match &mut statement.kind {
        StatementKind::Store { page, .. } | StatementKind::Load { page, .. } => {
            is_there(Reference::MappingPage(*page))
        }
        StatementKind::Map(mapping) => is_there(Reference::Mapping(*mapping)),
        StatementKind::Call { call, .. } => Call::references(call).into_iter().all(is_there),
        StatementKind::Repeat { body, .. } => {
            retain(body, is_there);
            !body.is_empty()
        }
    });
}
