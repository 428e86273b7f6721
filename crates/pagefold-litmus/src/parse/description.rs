//! The description of a scenario: the comment after its name.

use crate::token::{Comment, CommentStyle};

/// The first comment that begins between two places: one block, or lines that follow each other.
pub(super) fn description(comments: &[Comment<'_>], after: usize, before: usize) -> Option<String> {
    let first = comments
        .iter()
        .position(|comment| comment.span.offset >= after)?;
    let mut comments = comments[first..]
        .iter()
        .take_while(|comment| comment.span.offset < before);
    let head = comments.next()?;
    let text = match head.style {
        CommentStyle::Block => head.text.trim().to_owned(),
        CommentStyle::Line => {
            let more = comments
                .zip(head.span.line + 1..)
                .take_while(|(next, line)| {
                    next.style == CommentStyle::Line && next.span.line == *line
                })
                .map(|(next, _)| next);
            let lines: Vec<&str> = std::iter::once(head)
                .chain(more)
                .map(|comment| comment.text.trim())
                .collect();
            lines.join("\n").trim().to_owned()
        }
    };
    (!text.is_empty()).then_some(text)
}
