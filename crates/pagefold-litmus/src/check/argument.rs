//! Arguments: as many as the call takes, each of the shape it takes.

use super::Checker;
use super::names::plural;
use crate::calls::{CallSpec, Shape};
use crate::constants::Constant;
use crate::diagnostic::Diagnostic;
use crate::nearest::did_you_mean;
use crate::syntax::{self, Argument, ArgumentKind, Word};
use crate::token::excerpt;

impl<'a> Checker<'a, '_> {
    /// Whether the call has as many arguments as it takes; reports it if not.
    pub(super) fn arity(&mut self, spec: &CallSpec, call: &syntax::Call<'a>) -> bool {
        let most = spec.parameters.len();
        let least = spec
            .parameters
            .iter()
            .filter(|parameter| !parameter.optional)
            .count();
        let found = call.arguments.len();
        if (least..=most).contains(&found) {
            return true;
        }
        let expected = if least == most {
            plural(most, "argument")
        } else {
            format!("{least} or {}", plural(most, "argument"))
        };
        self.report(
            Diagnostic::new(
                call.span,
                format!("`{}` takes {expected}, found {found}", spec.name),
                format!("expected {expected}"),
            )
            .help(format!("it is written `{}`", spec.signature())),
        );
        false
    }

    /// A constant of the set that `shape` lists.
    pub(crate) fn constant<C: Constant>(&mut self, word: Word<'a>, shape: Shape) -> Option<C> {
        let found = C::from_name(word.text);
        if found.is_none() {
            let help = did_you_mean(word.text, C::NAMES.iter().copied());
            let expected = shape.describe();
            self.report(
                Diagnostic::new(
                    word.span,
                    format!("expected {expected}, found `{}`", excerpt(word.text)),
                    format!("expected {expected}"),
                )
                .maybe_help(help),
            );
        }
        found
    }

    /// Reports an argument of the wrong shape. Always `None`: there is nothing to go on with.
    pub(crate) fn misfit<T>(&mut self, argument: &Argument<'a>, shape: Shape) -> Option<T> {
        let found = match &argument.kind {
            ArgumentKind::Number(value) => format!("the number `{value}`"),
            ArgumentKind::Page(page) => format!("the page `{}[...]`", excerpt(page.name.text)),
            ArgumentKind::Range(range) => format!("the pages `{}[...]`", excerpt(range.name.text)),
            ArgumentKind::Words(words) => match words.as_slice() {
                [word] => format!("`{}`", excerpt(word.text)),
                _ => "names joined by `|`".to_owned(),
            },
        };
        let expected = shape.describe();
        self.report(Diagnostic::new(
            argument.span,
            format!("expected {expected}, found {found}"),
            format!("expected {expected}"),
        ));
        None
    }

    /// Reports a word that stands twice in a list.
    pub(crate) fn repeated(&mut self, word: Word<'a>) {
        self.report(Diagnostic::new(
            word.span,
            format!("`{}` stands here twice", excerpt(word.text)),
            "expected once",
        ));
    }
}
