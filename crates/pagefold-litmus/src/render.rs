//! Diagnostics as text for people: the source line, a caret, and what was expected.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::Span;

impl Diagnostics {
    /// All findings, each with its place in `source`, the text that was parsed; in colour if asked to.
    pub fn render(&self, source: &str, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut groups: Vec<Group<'_>> = self
            .iter()
            .map(|diagnostic| group(&self.file_name, source, diagnostic))
            .collect();
        if self.omitted > 0 {
            let more = format!("and {} more", self.omitted);
            groups.push(Group::with_title(Level::NOTE.primary_title(more)));
        }
        // One report each: groups of one report count as one finding.
        let reports: Vec<String> = groups
            .into_iter()
            .map(|group| renderer.render(&[group]))
            .collect();
        reports.join("\n\n")
    }
}

fn group<'a>(file_name: &'a str, source: &'a str, diagnostic: &'a Diagnostic) -> Group<'a> {
    let places = [
        Some(diagnostic.span),
        diagnostic.related.as_ref().map(|related| related.span),
    ];
    let window = window(source, places.into_iter().flatten());
    let text = &source[window.clone()];
    let first_line = places
        .into_iter()
        .flatten()
        .map(|span| span.line)
        .min()
        .unwrap_or(1);

    let mut snippet = Snippet::source(text)
        .path(file_name)
        .line_start(first_line)
        .annotation(annotation(
            AnnotationKind::Primary,
            text,
            &window,
            diagnostic.span,
            &diagnostic.label,
        ));
    if let Some(related) = &diagnostic.related {
        snippet = snippet.annotation(annotation(
            AnnotationKind::Context,
            text,
            &window,
            related.span,
            &related.label,
        ));
    }
    let group = Level::ERROR
        .primary_title(diagnostic.message.as_str())
        .element(snippet);
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

fn annotation<'a>(
    kind: AnnotationKind,
    text: &str,
    window: &Range<usize>,
    span: Span,
    label: &'a str,
) -> Annotation<'a> {
    let start = boundary(text, span.offset.saturating_sub(window.start));
    let end = boundary(text, span.end().saturating_sub(window.start)).max(start);
    kind.span(start..end).label(label)
}

/// The whole lines that the places stand on, and those between.
fn window(source: &str, places: impl Iterator<Item = Span>) -> Range<usize> {
    let (mut start, mut end) = (source.len(), 0);
    for span in places {
        start = start.min(boundary(source, span.offset));
        end = end.max(boundary(source, span.end()));
    }
    let end = end.max(start);
    let start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[end..]
        .find('\n')
        .map_or(source.len(), |newline| end + newline);
    start..end
}

/// The nearest character boundary at or before `offset`: `source` need not be the text that was parsed.
fn boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}
