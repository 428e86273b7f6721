//! This very program, and what it needs to run where nothing else is.
//!
//! A program that is linked statically needs nothing. One that is not needs its loader and the libraries that this names, in the places
//! where it finds them here; so any build can be put into a guest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Unable;

/// How to build a program that can do without.
const STATIC: &str = "RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target x86_64-unknown-linux-gnu";

/// The program that runs, as it was started, even if its file has been replaced since.
const SELF: &str = "/proc/self/exe";

/// The program that runs.
pub(super) fn this() -> io::Result<Vec<u8>> {
    fs::read(SELF)
}

/// The files that `program`, which is what runs, needs besides itself.
pub(super) fn libraries(program: &[u8]) -> Result<Vec<PathBuf>, Unable> {
    if !has_loader(program) {
        return Ok(Vec::new());
    }
    // The loader prints what it would load, and goes no further.
    let listing = Command::new(SELF)
        .env_clear()
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Unable(format!("{SELF}: {error}")))?;
    parse(&String::from_utf8_lossy(&listing.stdout)).ok_or_else(|| {
        Unable(format!(
            "this program is linked dynamically, and its loader does not tell to what; build it with\n  {STATIC}"
        ))
    })
}

/// Whether the kernel starts something else first, which loads the program: an ELF file names that in a header.
fn has_loader(program: &[u8]) -> bool {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    let half = |at: usize| {
        let bytes = program.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    };
    let headers = || {
        let first = program.get(0x20..0x28)?;
        let first = usize::try_from(u64::from_le_bytes(first.try_into().ok()?)).ok()?;
        Some((first, half(0x36)?, half(0x38)?))
    };
    let Some((first, size, count)) = headers() else {
        return false;
    };
    (0..count).any(|index| {
        let at = first.saturating_add(index * size);
        program.get(at..at.saturating_add(4)) == Some(&INTERPRETER)
    })
}

/// The files in what a loader prints, if the loader itself is among them and nothing is missing.
fn parse(listing: &str) -> Option<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut loader = false;
    for line in listing.lines() {
        let (found, name) = match line.trim().split_once(" => ") {
            Some((_, file)) => (file, false),
            None => (line.trim(), true),
        };
        let (file, _) = found.split_once(" (0x")?;
        if Path::new(file).is_absolute() {
            files.push(PathBuf::from(file));
            loader |= name;
        }
    }
    loader.then_some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_test_needs_can_be_read() {
        let program = this().unwrap();
        assert_eq!(&program[..4], b"\x7fELF");
        for library in libraries(&program).unwrap() {
            assert!(library.is_file(), "{}", library.display());
        }
    }

    #[test]
    fn a_listing_is_whole_or_nothing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let files = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse(listing).unwrap(), files.map(PathBuf::from));
        assert_eq!(
            parse("\tlibc.so.6 => not found\n\t/lib64/ld.so (0x7f)\n"),
            None
        );
        assert_eq!(parse("Usage: pagefold <COMMAND>\n"), None);
        assert_eq!(parse(""), None);
    }
}
