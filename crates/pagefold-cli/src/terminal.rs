//! Where text goes: how wide it may be, and whether it may be coloured.

use std::fmt;

use console::{Style, Term};

/// The width where there is no terminal that says.
const DEFAULT_WIDTH: usize = 110;
/// Below this, tables would be all wrapping.
const MIN_WIDTH: usize = 60;

/// What the receiver of text can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Characters in a line.
    pub(crate) width: usize,
    /// Whether it shows colours, and the user wants them.
    pub(crate) color: bool,
}

impl Terminal {
    /// What stands behind standard output.
    pub(crate) fn stdout() -> Self {
        let width = match Term::stdout().size_checked() {
            Some((_, columns)) => usize::from(columns).max(MIN_WIDTH),
            None => DEFAULT_WIDTH,
        };
        Self {
            width,
            color: console::colors_enabled(),
        }
    }

    /// `text` in `ink`.
    pub(crate) fn paint<T: fmt::Display>(self, ink: Ink, text: T) -> impl fmt::Display {
        ink.style().force_styling(self.color).apply_to(text)
    }
}

/// What a piece of text means to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Nothing special.
    #[default]
    Plain,
    /// A title.
    Title,
    /// What gives orientation among details.
    Landmark,
    /// What can be skipped.
    Faint,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Left open.
    Open,
}

impl Ink {
    fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Title => style.bold(),
            Self::Landmark => style.cyan().bold(),
            Self::Faint => style.dim(),
            Self::Good => style.green(),
            Self::Bad => style.red().bold(),
            Self::Open => style.yellow(),
        }
    }
}
