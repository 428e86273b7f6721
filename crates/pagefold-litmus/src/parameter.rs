//! What can be an argument of a call: how it is read, checked and printed.

use std::slice;

use crate::ast::{Backing, MappingPage, MappingRange, ObjectPage, PageRange, Scenario};
use crate::calls::Shape;
use crate::check::Checker;
use crate::constants::{
    Advice, Constant, FillMode, Hold, Limit, MoveMode, Permission, ProtectNew, Protection, Scope,
    Sharing, SkipHoles, UffdMode, UffdModes, Writable,
};
use crate::ids::{MappingId, MmId, ObjectId};
use crate::part::Reference;
use crate::syntax::{Argument, ArgumentKind, Word};

/// A type of argument.
pub(crate) trait Parameter: Copy {
    /// What can stand for it.
    const SHAPE: Shape;

    /// What it is if it is left out; `None` if it cannot be.
    const ABSENT: Option<Self> = None;

    /// Reads one argument and reports what is wrong with it.
    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self>;

    /// The argument as it is written; `None` if it is left out.
    fn print(&self, scenario: &Scenario) -> Option<String>;

    /// What it refers to.
    fn reference(&self) -> Reference {
        Reference::Nothing
    }
}

/// Reads the next argument, or what stands for it if it is left out.
pub(crate) fn take<'a, T: Parameter>(
    arguments: &mut slice::Iter<'_, Argument<'a>>,
    checker: &mut Checker<'a, '_>,
) -> Option<T> {
    match arguments.next() {
        Some(argument) => T::read(argument, checker),
        None => T::ABSENT,
    }
}

impl<'a> Argument<'a> {
    /// The argument if it is one plain name.
    fn single(&self) -> Option<Word<'a>> {
        match &self.kind {
            ArgumentKind::Words(words) if words.len() == 1 => words.first().copied(),
            _ => None,
        }
    }

    /// The argument if it is plain names.
    fn words(&self) -> Option<&[Word<'a>]> {
        match &self.kind {
            ArgumentKind::Words(words) => Some(words),
            _ => None,
        }
    }
}

impl Parameter for MappingId {
    const SHAPE: Shape = Shape::Mapping;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match argument.single() {
            Some(word) => checker.mapping(word),
            None => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        Some(scenario[*self].name.clone())
    }

    fn reference(&self) -> Reference {
        Reference::Mapping(*self)
    }
}

impl Parameter for MappingPage {
    const SHAPE: Shape = Shape::MappingPage;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match &argument.kind {
            ArgumentKind::Page(page) => checker.mapping_page(page),
            _ => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        Some(format!("{}[{}]", scenario[self.mapping].name, self.page))
    }

    fn reference(&self) -> Reference {
        Reference::MappingPage(*self)
    }
}

impl Parameter for MappingRange {
    const SHAPE: Shape = Shape::MappingRange;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let (mapping, pages) = match &argument.kind {
            ArgumentKind::Page(page) => {
                let MappingPage { mapping, page } = checker.mapping_page(page)?;
                let (first, end) = (page, page + 1);
                (mapping, Some(PageRange { first, end }))
            }
            ArgumentKind::Range(range) => return checker.mapping_range(range),
            _ => match argument.single() {
                Some(word) => (checker.mapping(word)?, None),
                None => return checker.misfit(argument, Self::SHAPE),
            },
        };
        Some(Self { mapping, pages })
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        let name = &scenario[self.mapping].name;
        Some(match self.pages {
            None => name.clone(),
            Some(PageRange { first, end }) if end == first + 1 => format!("{name}[{first}]"),
            Some(PageRange { first, end }) => format!("{name}[{first}..{end}]"),
        })
    }

    fn reference(&self) -> Reference {
        Reference::MappingRange(*self)
    }
}

impl Parameter for ObjectId {
    const SHAPE: Shape = Shape::Object;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match argument.single() {
            Some(word) => checker.object(word),
            None => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        Some(scenario[*self].name.clone())
    }

    fn reference(&self) -> Reference {
        Reference::Object(*self)
    }
}

impl Parameter for Backing {
    const SHAPE: Shape = Shape::Backing;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match &argument.kind {
            ArgumentKind::Page(page) if page.name.text == Self::ANON => {
                let pages = checker.pages(page.page, "anonymous memory")?;
                Some(Self::Anonymous { pages })
            }
            _ => match argument.single() {
                Some(word) if word.text != Self::ANON => checker.object(word).map(Self::Object),
                _ => checker.misfit(argument, Self::SHAPE),
            },
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        match self {
            Self::Object(object) => object.print(scenario),
            Self::Anonymous { pages } => Some(format!("{}[{pages}]", Self::ANON)),
        }
    }

    fn reference(&self) -> Reference {
        match self {
            Self::Object(object) => Reference::Object(*object),
            Self::Anonymous { .. } => Reference::Nothing,
        }
    }
}

impl Parameter for ObjectPage {
    const SHAPE: Shape = Shape::ObjectPage;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match &argument.kind {
            ArgumentKind::Page(page) => checker.object_page(page),
            _ => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        Some(format!("{}[{}]", scenario[self.object].name, self.page))
    }

    fn reference(&self) -> Reference {
        Reference::ObjectPage(*self)
    }
}

impl Parameter for MmId {
    const SHAPE: Shape = Shape::Mm;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match argument.single() {
            Some(word) => checker.mm(word),
            None => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        Some(scenario[*self].name.clone())
    }

    fn reference(&self) -> Reference {
        Reference::Mm(*self)
    }
}

impl Parameter for u64 {
    const SHAPE: Shape = Shape::Number;

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match argument.kind {
            ArgumentKind::Number(value) => Some(value),
            _ => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        Some(self.to_string())
    }
}

/// Reads a constant of a set of which one is to be chosen.
fn read_constant<'a, C: Constant>(
    argument: &Argument<'a>,
    shape: Shape,
    checker: &mut Checker<'a, '_>,
) -> Option<C> {
    match argument.single() {
        Some(word) => checker.constant(word, shape),
        None => checker.misfit(argument, shape),
    }
}

impl Parameter for Advice {
    const SHAPE: Shape = Shape::OneOf(Self::NAMES);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        read_constant(argument, Self::SHAPE, checker)
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        Some(self.name().to_owned())
    }
}

impl Parameter for Sharing {
    const SHAPE: Shape = Shape::OneOf(Self::NAMES);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        read_constant(argument, Self::SHAPE, checker)
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        Some(self.name().to_owned())
    }
}

impl Parameter for UffdModes {
    const SHAPE: Shape = Shape::AnyOf(UffdMode::NAMES);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let Some(words) = argument.words() else {
            return checker.misfit(argument, Self::SHAPE);
        };
        let mut modes = Self::default();
        for word in words {
            let mode = checker.constant(*word, Self::SHAPE)?;
            if !modes.insert(mode) {
                checker.repeated(*word);
                return None;
            }
        }
        Some(modes)
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        let names: Vec<&str> = self.iter().map(UffdMode::name).collect();
        Some(names.join("|"))
    }
}

/// Reads constants that mean something together.
fn read_constants<'a, C: Constant>(
    argument: &Argument<'a>,
    shape: Shape,
    checker: &mut Checker<'a, '_>,
) -> Option<Vec<C>> {
    let Some(words) = argument.words() else {
        return checker.misfit(argument, shape);
    };
    words
        .iter()
        .map(|word| checker.constant(*word, shape))
        .collect()
}

impl Parameter for Permission {
    const SHAPE: Shape = Shape::OneOf(&["PROT_NONE", "PROT_READ", "PROT_READ|PROT_WRITE"]);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let constants = read_constants(argument, Self::SHAPE, checker)?;
        Self::of(&constants).or_else(|| checker.misfit(argument, Self::SHAPE))
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        let names: Vec<&str> = self.constants().iter().map(|prot| prot.name()).collect();
        Some(names.join("|"))
    }
}

impl Parameter for Hold {
    const SHAPE: Shape = Shape::OneOf(&["FOLL_GET", "FOLL_LONGTERM", "FOLL_LONGTERM|FOLL_WRITE"]);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let constants = read_constants(argument, Self::SHAPE, checker)?;
        Self::of(&constants).or_else(|| checker.misfit(argument, Self::SHAPE))
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        let names: Vec<&str> = self.constants().iter().map(|foll| foll.name()).collect();
        Some(names.join("|"))
    }
}

impl Parameter for ProtectNew {
    const SHAPE: Shape = Shape::OneOf(FillMode::NAMES);
    const ABSENT: Option<Self> = Some(Self(false));

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let FillMode::Protect = read_constant(argument, Self::SHAPE, checker)?;
        Some(Self(true))
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        self.0.then(|| FillMode::Protect.name().to_owned())
    }
}

impl Parameter for SkipHoles {
    const SHAPE: Shape = Shape::OneOf(MoveMode::NAMES);
    const ABSENT: Option<Self> = Some(Self(false));

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        let MoveMode::SkipHoles = read_constant(argument, Self::SHAPE, checker)?;
        Some(Self(true))
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        self.0.then(|| MoveMode::SkipHoles.name().to_owned())
    }
}

impl Parameter for Writable {
    const SHAPE: Shape = Shape::OneOf(&["PROT_READ|PROT_WRITE"]);
    const ABSENT: Option<Self> = Some(Self(false));

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match Permission::read(argument, checker)? {
            Permission::ReadWrite => Some(Self(true)),
            Permission::None | Permission::Read => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        self.0.then(|| Permission::ReadWrite.print(scenario))?
    }
}

impl Parameter for Scope {
    const SHAPE: Shape = Shape::Mm;
    const ABSENT: Option<Self> = Some(Self(None));

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        MmId::read(argument, checker).map(|mm| Self(Some(mm)))
    }

    fn print(&self, scenario: &Scenario) -> Option<String> {
        self.0.and_then(|mm| mm.print(scenario))
    }

    fn reference(&self) -> Reference {
        self.0.map_or(Reference::Nothing, Reference::Mm)
    }
}

impl Parameter for Limit {
    const SHAPE: Shape = Shape::Number;
    const ABSENT: Option<Self> = Some(Self(None));

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        u64::read(argument, checker).map(|most| Self(Some(most)))
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        self.0.map(|most| most.to_string())
    }
}

impl Parameter for Protection {
    const SHAPE: Shape = Shape::Zero;
    const ABSENT: Option<Self> = Some(Self::Protect);

    fn read<'a>(argument: &Argument<'a>, checker: &mut Checker<'a, '_>) -> Option<Self> {
        match argument.kind {
            ArgumentKind::Number(0) => Some(Self::Unprotect),
            _ => checker.misfit(argument, Self::SHAPE),
        }
    }

    fn print(&self, _: &Scenario) -> Option<String> {
        match self {
            Self::Protect => None,
            Self::Unprotect => Some("0".to_owned()),
        }
    }
}
