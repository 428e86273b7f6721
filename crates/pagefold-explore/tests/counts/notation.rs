//! A notation for programs that only read and write.

use pagefold_explore::sync::atomic::Ordering::SeqCst;

use crate::memory::{Body, Memory, body};

/// How many words the notation knows.
pub(crate) const LETTERS: usize = 26;

/// Threads are separated by `|`, their steps by spaces. A step is on the word that its first letter
/// names: `x` reads it, `x=1` writes to it, `x+1` adds to it, `x~1` swaps, `x:0:1` puts 1 in place
/// of 0, and `x>0` reads it and ends the thread unless it is greater.
pub(crate) fn parse(text: &str) -> Vec<Body> {
    text.split('|')
        .map(|thread| {
            let steps: Vec<Step> = thread.split_whitespace().map(Step::parse).collect();
            body(move |m| {
                for step in &steps {
                    if !step.run(m) {
                        return;
                    }
                }
            })
        })
        .collect()
}

struct Step {
    word: usize,
    what: What,
}

enum What {
    Read,
    Write(u32),
    Add(u32),
    Swap(u32),
    Replace(u32, u32),
    UnlessAbove(u32),
}

impl Step {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        let (word, rest) = text.split_at(1);
        let word = usize::from(word.as_bytes()[0] - b'a');
        let what = match rest.split_at_checked(1) {
            None => What::Read,
            Some(("=", value)) => What::Write(number(value)),
            Some(("+", value)) => What::Add(number(value)),
            Some(("~", value)) => What::Swap(number(value)),
            Some((">", value)) => What::UnlessAbove(number(value)),
            Some((":", values)) => {
                let (from, to) = values.split_once(':').expect("two values");
                What::Replace(number(from), number(to))
            }
            Some(_) => panic!("{text}"),
        };
        Self { word, what }
    }

    /// Whether the thread goes on.
    fn run(&self, m: &Memory) -> bool {
        let word = self.word;
        match self.what {
            What::Read => {
                m.read(word);
            }
            What::Write(value) => m.write(word, value),
            What::Add(value) => {
                m.add(word, value);
            }
            What::Swap(value) => {
                m.x[word].swap(value, SeqCst);
            }
            What::Replace(from, to) => {
                m.cas(word, from, to);
            }
            What::UnlessAbove(value) => return m.read(word) > value,
        }
        true
    }
}
