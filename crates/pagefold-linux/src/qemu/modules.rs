//! KVM for the guest, of kernels that have it as modules. QEMU has a processor that can run virtual machines, also where it does so by itself.
//!
//! The modules are those that belong to the image where distributions put them: `lib/modules` next to `boot`. What is not there, or cannot be
//! loaded, is missed by who needs it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::system::finit_module;

/// In the order in which they are loaded, as each needs the ones before it.
const MODULES: [&str; 5] = [
    "virt/lib/irqbypass",
    "drivers/crypto/ccp/ccp",
    "arch/x86/kvm/kvm",
    "arch/x86/kvm/kvm-amd",
    "arch/x86/kvm/kvm-intel",
];

/// How their names end: as they are, and compressed.
const ENDINGS: [&str; 4] = ["ko", "ko.xz", "ko.zst", "ko.gz"];

/// The kernel decompresses it. (`MODULE_INIT_COMPRESSED_FILE`, Linux: from 5.17)
const COMPRESSED: i32 = 4;

/// Where they are in the guest.
const IN_GUEST: &str = "/modules";

/// The files of the modules for a kernel image, and where they go in the guest.
pub(super) fn of(image: &Path) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let directory = directory(image);
    MODULES.iter().filter_map(move |module| {
        let directory = directory.as_ref()?;
        let mut names = ENDINGS.iter().map(|ending| format!("{module}.{ending}"));
        let name = names.find(|name| directory.join(name).is_file())?;
        Some((directory.join(&name), Path::new(IN_GUEST).join(name)))
    })
}

/// Where they are for `/boot/vmlinuz-6.12`: in `/lib/modules/6.12/kernel`.
fn directory(image: &Path) -> Option<PathBuf> {
    let image = fs::canonicalize(image).ok()?;
    let release = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
    let root = image.parent()?.parent()?;
    Some(root.join("lib/modules").join(release).join("kernel"))
}

/// Loads one.
pub(super) fn load(file: &Path) -> io::Result<()> {
    let flags = if file.extension() == Some(OsStr::new("ko")) {
        0
    } else {
        COMPRESSED
    };
    Ok(finit_module(File::open(file)?, c"", flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_those_of_the_image() {
        let root = std::env::temp_dir().join(format!("pagefold-modules-{}", std::process::id()));
        let kernel = root.join("lib/modules/6.12.1-x/kernel");
        for directory in ["boot", "lib/modules/6.12.1-x/kernel/arch/x86/kvm"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["kvm-amd.ko.xz", "kvm.ko.xz", "other.ko"] {
            fs::write(kernel.join("arch/x86/kvm").join(file), "").unwrap();
        }
        let found = |name: &str| {
            let image = root.join("boot").join(name);
            fs::write(&image, "").unwrap();
            let real = fs::canonicalize(&root).unwrap();
            let files = of(&image).map(|(file, place)| {
                let name = place.strip_prefix(IN_GUEST).unwrap();
                assert_eq!(file, real.join("lib/modules/6.12.1-x/kernel").join(name));
                name.to_str().unwrap().to_owned()
            });
            files.collect::<Vec<_>>()
        };
        let expected = ["arch/x86/kvm/kvm.ko.xz", "arch/x86/kvm/kvm-amd.ko.xz"];
        assert_eq!(found("vmlinuz-6.12.1-x"), expected);
        assert!(found("vmlinuz-6.12.2").is_empty());
        assert!(found("bzImage").is_empty());
        fs::remove_dir_all(root).unwrap();
    }
}
