//! What the guest tells the host, over a serial line of its own.
//!
//! A frame is one line: a word that nothing else says, the length of what follows, and that as JSON. Whatever else comes over the line
//! (a kernel that logs there too, a byte too few) is passed over, up to the next line that is a whole frame.

use serde::{Deserialize, Serialize};

const MAGIC: &str = "pagefold-frame";

/// More than the longest frame has.
const LONGEST: usize = 1 << 16;

/// So many bytes of output go into one frame; each may take six letters.
pub(super) const CHUNK: usize = 4096;

/// A message from the guest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// The guest is up, and begins.
    Started {
        /// The release of its kernel, as `uname -r` says it.
        release: String,
    },
    /// The command wrote this.
    Output {
        /// To its standard error.
        error: bool,
        /// Each byte as the letter of that number, since not all bytes are text.
        bytes: String,
    },
    /// The command has ended; nothing comes after this.
    Ended(End),
}

/// How the command in the guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran.
    Unable(String),
}

impl Frame {
    /// Some output, of at most [`CHUNK`] bytes.
    pub(super) fn output(error: bool, bytes: &[u8]) -> Self {
        Self::Output {
            error,
            bytes: bytes.iter().map(|&byte| char::from(byte)).collect(),
        }
    }

    /// As a line.
    pub(super) fn line(&self) -> String {
        let text = serde_json::to_string(self).expect("a frame has nothing that JSON cannot say");
        format!("{MAGIC} {} {text}\n", text.len())
    }

    /// From a line.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (_, frame) = line.split_once(MAGIC)?;
        let (length, text) = frame.trim_start().split_once(' ')?;
        let length: usize = length.parse().ok()?;
        serde_json::from_str(text.get(..length)?).ok()
    }
}

/// The bytes that [`Frame::output`] was given.
pub(super) fn bytes(letters: &str) -> Vec<u8> {
    letters
        .chars()
        .filter_map(|letter| u8::try_from(letter).ok())
        .collect()
}

/// Puts frames together from what arrives.
#[derive(Debug, Default)]
pub(super) struct Frames {
    line: Vec<u8>,
}

impl Frames {
    /// More has arrived: the frames that are complete with it.
    pub(super) fn push(&mut self, arrived: &[u8]) -> Vec<Frame> {
        let mut complete = Vec::new();
        for &byte in arrived {
            if byte == b'\n' {
                complete.extend(Frame::parse(&self.line));
                self.line.clear();
            } else if self.line.len() < LONGEST {
                self.line.push(byte);
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_noise_and_any_cut() {
        let every: Vec<u8> = (0..=255).collect();
        let frames = [
            Frame::Started {
                release: "6.1.0".to_owned(),
            },
            Frame::output(false, &every),
            Frame::output(true, b"pagefold-frame 3 {\n"),
            Frame::Ended(End::Exit(4)),
        ];
        let mut sent =
            b"\x1bc[    0.1] noise\r\npagefold-frame 5 {}\nnoise without an end ".to_vec();
        for frame in &frames {
            sent.extend_from_slice(frame.line().replace('\n', "\r\n").as_bytes());
            sent.extend_from_slice(b"\xff\xfe[ 1.0] more noise\n");
        }
        for piece in [1, 2, 7, sent.len()] {
            let mut reader = Frames::default();
            let got: Vec<Frame> = sent
                .chunks(piece)
                .flat_map(|part| reader.push(part))
                .collect();
            assert_eq!(got, frames);
        }
        let Frame::Output { bytes: letters, .. } = &frames[1] else {
            unreachable!("it is the output");
        };
        assert_eq!(bytes(letters), every);
    }

    #[test]
    fn the_longest_frame_fits() {
        let frame = Frame::output(true, &[0; CHUNK]);
        let line = frame.line();
        assert!(line.len() < LONGEST);
        assert_eq!(Frames::default().push(line.as_bytes()), [frame]);
    }
}
