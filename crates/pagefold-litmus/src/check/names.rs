//! Names: what may be one, who has it already, and whom a use of it means.

use super::{Checker, suggest};
use crate::actors::ActorSpec;
use crate::ast::{Backing, Created, Mapping, MappingPage, MappingRange, ObjectPage, PageRange};
use crate::calls::CallSpec;
use crate::constants::CONSTANTS;
use crate::diagnostic::Diagnostic;
use crate::ids::{MappingId, MmId, ObjectId};
use crate::limits::NAME_BYTES;
use crate::parse::KEYWORDS;
use crate::span::Span;
use crate::syntax::{Number, Page, Range, Word};
use crate::token::excerpt;
use crate::value::Symbol;

/// Something that has a name.
struct Owner {
    what: String,
    span: Span,
}

impl<'a> Checker<'a, '_> {
    /// Whether `word` can name anything; reports it if not.
    pub(super) fn well_named(&mut self, word: Word<'a>, what: &str) -> bool {
        let text = excerpt(word.text);
        let is_actor = ActorSpec::find(word.text).is_some();
        let reserved = if is_actor || KEYWORDS.contains(&word.text) {
            Some("a keyword")
        } else if CallSpec::find(word.text).is_some() {
            Some("a call")
        } else if CONSTANTS.contains(&word.text) {
            Some("a constant")
        } else if Symbol::from_name(word.text).is_some() {
            Some("a symbol")
        } else {
            None
        };
        let diagnostic = if let Some(meaning) = reserved {
            Diagnostic::new(
                word.span,
                format!("`{text}` is {meaning} and cannot name {what}"),
                "expected another name",
            )
        } else if word.text.len() > NAME_BYTES {
            Diagnostic::new(
                word.span,
                "this name is too long",
                format!("expected at most {NAME_BYTES} characters"),
            )
        } else if word.text.contains(['-', '.']) {
            Diagnostic::new(
                word.span,
                format!("`{text}` cannot name {what}"),
                "expected only letters, digits and `_`",
            )
        } else {
            return true;
        };
        self.report(diagnostic);
        false
    }

    /// Whether `word` can name `what` in `mm`, or everywhere; reports it if not.
    pub(super) fn declarable(&mut self, word: Word<'a>, what: &str, mm: Option<MmId>) -> bool {
        if !self.well_named(word, what) {
            return false;
        }
        match self.owner(word.text, mm) {
            None => true,
            Some(owner) => {
                self.report(
                    Diagnostic::new(
                        word.span,
                        format!("`{}` is the name of {} already", word.text, owner.what),
                        format!("expected another name for {what}"),
                    )
                    .related(owner.span, "it is declared here"),
                );
                false
            }
        }
    }

    /// Who has the name: globally, and among the mappings of `mm`, or of any mm.
    fn owner(&self, name: &str, mm: Option<MmId>) -> Option<Owner> {
        if let Some(id) = self.objects.get(name) {
            let span = self.scenario[*id].span;
            return Some(Owner {
                what: "an object".to_owned(),
                span,
            });
        }
        if let Some(id) = self.mms.get(name) {
            let span = self.scenario[*id].span;
            return Some(Owner {
                what: "an mm".to_owned(),
                span,
            });
        }
        if let Some(id) = self.registers.get(name) {
            let span = self.scenario[*id].span;
            return Some(Owner {
                what: "a register".to_owned(),
                span,
            });
        }
        let mapping = self
            .scenario
            .mappings
            .iter()
            .find(|mapping| mapping.name == name && mm.is_none_or(|mm| mapping.mm == mm))?;
        Some(Owner {
            what: format!("a mapping of mm `{}`", self.scenario[mapping.mm].name),
            span: mapping.span,
        })
    }

    /// Reports a name that means nothing of the kind expected, unless its declaration was lost.
    pub(super) fn unknown(&mut self, word: Word<'a>, expected: &str, candidates: &[String]) {
        if self.lost.contains(word.text) {
            return;
        }
        let text = excerpt(word.text);
        let diagnostic = match self.owner(word.text, None) {
            Some(owner) => Diagnostic::new(
                word.span,
                format!("`{text}` is {}, not {expected}", owner.what),
                format!("expected {expected}"),
            )
            .related(owner.span, "it is declared here"),
            None => Diagnostic::new(
                word.span,
                format!("`{text}` is not {expected}"),
                format!("expected {expected}"),
            ),
        };
        let help = suggest(word, candidates.iter().map(String::as_str));
        self.report(diagnostic.maybe_help(help));
    }

    pub(crate) fn mm(&mut self, word: Word<'a>) -> Option<MmId> {
        let found = self.mms.get(word.text).copied();
        if found.is_none() {
            let known = names(&self.scenario.mms, |mm| &mm.name);
            self.unknown(word, "an mm", &known);
        }
        found
    }

    pub(crate) fn object(&mut self, word: Word<'a>) -> Option<ObjectId> {
        let found = self.objects.get(word.text).copied();
        if found.is_none() {
            let known = names(&self.scenario.objects, |object| &object.name);
            self.unknown(word, "an object", &known);
        }
        found
    }

    /// A mapping of the mm that the statement runs in, there by the time it runs.
    pub(crate) fn mapping(&mut self, word: Word<'a>) -> Option<MappingId> {
        let mm = match self.here.mm {
            Some(mm) => mm,
            None => self.only_mm_of(word)?,
        };
        let Some(id) = self.mappings.get(&(mm, word.text)).copied() else {
            let expected = format!("a mapping of mm `{}`", self.scenario[mm].name);
            let known: Vec<String> = self
                .scenario
                .mappings_of(mm)
                .map(|(_, mapping)| mapping.name.clone())
                .collect();
            self.unknown(word, &expected, &known);
            return None;
        };
        let mapping = &self.scenario[id];
        let later = match mapping.created {
            Created::Start | Created::Fork(_) => false,
            Created::Setup => !self.created.contains(&id),
            Created::Thread(creator) => match self.here.thread {
                Some(here) => here == creator && !self.created.contains(&id),
                // Neither the set-up nor `uffd(...)` of the header can be later than a thread.
                None => !self.created.contains(&id),
            },
        };
        if later {
            let span = mapping.span;
            self.report(
                Diagnostic::new(
                    word.span,
                    format!("`{}` is not mapped yet", word.text),
                    "expected after the `mmap`",
                )
                .related(span, "it is mapped here"),
            );
            return None;
        }
        Some(id)
    }

    /// The mm that a mapping belongs to which is named by who has no mm: the only one with a mapping of that name, but for those
    /// that have it by fork.
    fn only_mm_of(&mut self, word: Word<'a>) -> Option<MmId> {
        let owners = |name: &str| -> Vec<MmId> {
            let named = self.scenario.mappings.iter().filter(|mapping| {
                mapping.name == name && !matches!(mapping.created, Created::Fork(_))
            });
            named.map(|mapping| mapping.mm).collect()
        };
        match owners(word.text)[..] {
            [mm] => Some(mm),
            [] => {
                let mappings = self.scenario.mappings.iter();
                let known: Vec<String> = mappings.map(|mapping| mapping.name.clone()).collect();
                self.unknown(word, "a mapping", &known);
                None
            }
            _ => {
                self.report(Diagnostic::new(
                    word.span,
                    format!("several mms have a mapping `{}`", word.text),
                    "expected the name of only one",
                ));
                None
            }
        }
    }

    pub(crate) fn mapping_page(&mut self, page: &Page<'a>) -> Option<MappingPage> {
        let mapping = self.mapping(page.name)?;
        let page = match self.scenario[mapping].backing {
            Backing::Object(object) => self.page_of_object(page.page, object),
            Backing::Anonymous { pages } => {
                let Mapping { name, span, .. } = &self.scenario[mapping];
                let (name, span) = (name.clone(), *span);
                self.page_within(page.page, pages, &name, span)
            }
        }?;
        Some(MappingPage { mapping, page })
    }

    /// `x[i..j]`: one page at least, all of them in the mapping.
    pub(crate) fn mapping_range(&mut self, range: &Range<'a>) -> Option<MappingRange> {
        let Range { name, first, end } = *range;
        if end.value <= first.value {
            self.report(Diagnostic::new(
                first.span.to(end.span),
                "this range has no page",
                format!("expected more than {} after the dots", first.value),
            ));
            return None;
        }
        let mapping = self.mapping(name)?;
        let pages = self.scenario.pages(mapping);
        match (usize::try_from(first.value), usize::try_from(end.value)) {
            (Ok(first), Ok(end)) if end <= pages => {
                let pages = Some(PageRange { first, end });
                Some(MappingRange { mapping, pages })
            }
            _ => {
                let declared = self.scenario[mapping].span;
                self.report(
                    Diagnostic::new(
                        end.span,
                        format!("`{}` ends before page {}", name.text, end.value - 1),
                        format!("expected at most {pages}"),
                    )
                    .related(declared, format!("it has {}", plural(pages, "page"))),
                );
                None
            }
        }
    }

    pub(crate) fn object_page(&mut self, page: &Page<'a>) -> Option<ObjectPage> {
        let object = self.object(page.name)?;
        let page = self.page_of_object(page.page, object)?;
        Some(ObjectPage { object, page })
    }

    fn page_of_object(&mut self, number: Number, object: ObjectId) -> Option<usize> {
        let object = &self.scenario[object];
        let (pages, name, span) = (object.pages(), object.name.clone(), object.span);
        self.page_within(number, pages, &name, span)
    }

    /// A page of what has `pages` of them and is declared as `name` at `span`.
    fn page_within(
        &mut self,
        number: Number,
        pages: usize,
        name: &str,
        span: Span,
    ) -> Option<usize> {
        let page = usize::try_from(number.value)
            .ok()
            .filter(|page| *page < pages);
        if page.is_none() {
            let expected = match pages {
                1 => "expected 0".to_owned(),
                _ => format!("expected 0 to {}", pages - 1),
            };
            let diagnostic = Diagnostic::new(
                number.span,
                format!("there is no page {} in `{name}`", number.value),
                expected,
            )
            .related(span, format!("it has {}", plural(pages, "page")));
            self.report(diagnostic);
        }
        page
    }
}

/// The names of some rows.
pub(super) fn names<T>(rows: &[T], name: impl Fn(&T) -> &String) -> Vec<String> {
    rows.iter().map(|row| name(row).clone()).collect()
}

/// `1 page`, `2 pages`
pub(super) fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
