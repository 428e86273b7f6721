//! The archive that a kernel unpacks as its first file system: cpio in the format `newc`.
//!
//! Nothing is taken from the machine but what is added, and nothing is written to it: the archive is bytes. Directories on the way to
//! a file are made when they are first needed.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// An archive that is being made.
#[derive(Debug, Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    directories: BTreeSet<PathBuf>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

impl Initramfs {
    /// With the device that the kernel opens as the first program's output, if the kernel has not got it by itself.
    #[must_use]
    pub(super) fn new() -> Self {
        let mut archive = Self::default();
        archive.add(Path::new("/dev/console"), DEVICE, (5, 1), &[]);
        archive
    }

    /// Adds a file that can be read and executed by everyone. `path` is seen from the root; a component `..` leads back as the file
    /// system would.
    ///
    /// # Panics
    ///
    /// If the file has 4 GiB or more, which the format has no room for.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        self.add(path, PROGRAM, (0, 0), content);
    }

    /// Adds a directory, and those above it.
    pub(super) fn directory(&mut self, path: &Path) {
        let place = self.parents(path);
        self.make(&place);
    }

    /// The archive.
    #[must_use]
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, (0, 0), &[]);
        self.bytes
    }

    fn add(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) {
        let place = self.parents(path);
        self.entry(&place, mode, device, content);
    }

    /// Where `path` leads to. All directories that it goes through on the way are there then.
    fn parents(&mut self, path: &Path) -> PathBuf {
        let mut place = PathBuf::new();
        for component in path.components() {
            self.make(&place);
            match component {
                Component::Normal(name) => place.push(name),
                Component::ParentDir => {
                    place.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        place
    }

    fn make(&mut self, directory: &Path) {
        if !directory.as_os_str().is_empty() && self.directories.insert(directory.to_owned()) {
            self.entry(directory, DIRECTORY, (0, 0), &[]);
        }
    }

    fn entry(&mut self, place: &Path, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let name = place.as_os_str().as_bytes();
        self.entries += 1;
        let size = |length: usize| u32::try_from(length).expect("a file of less than 4 GiB");
        let fields = [
            self.entries, // number of the file
            mode,
            0, // owner
            0, // group
            1, // names
            0, // time
            size(content.len()),
            0, // on device
            0,
            major,
            minor,
            size(name.len() + 1),
            0, // checksum: not in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an archive holds, by the format's description: name, mode and content.
    fn list(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&archive[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                let text = std::str::from_utf8(&archive[start..start + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let text = &archive[at + 110..at + 110 + name - 1];
            assert_eq!(archive[at + 110 + name - 1], 0);
            let content = (at + 110 + name).next_multiple_of(4);
            if text == b"TRAILER!!!" {
                assert_eq!(content, archive.len());
                return found;
            }
            let name = String::from_utf8(text.to_vec()).unwrap();
            found.push((name, mode, archive[content..content + size].to_vec()));
            at = (content + size).next_multiple_of(4);
        }
    }

    #[test]
    fn files_come_after_their_directories_and_padded() {
        let mut archive = Initramfs::new();
        archive.file(Path::new("/init"), b"12345");
        archive.file(Path::new("/a/b/../c/x.litmus"), b"text");
        archive.file(Path::new("/a/y"), b"");
        archive.directory(Path::new("/a/here"));
        let listed = list(&archive.finish());
        let names: Vec<_> = listed
            .iter()
            .map(|(name, mode, _)| (name.as_str(), mode >> 12))
            .collect();
        assert_eq!(
            names,
            [
                ("dev", 4),
                ("dev/console", 2),
                ("init", 8),
                ("a", 4),
                ("a/b", 4),
                ("a/c", 4),
                ("a/c/x.litmus", 8),
                ("a/y", 8),
                ("a/here", 4),
            ]
        );
        assert_eq!(listed[2].2, b"12345");
        assert_eq!(listed[6].2, b"text");
    }
}
