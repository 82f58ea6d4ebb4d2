//! Files that nobody can change any more.

use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Content in memory that is fixed, in the form of a file that can be mapped.
///
/// A file on disk would not do for code that runs: whoever shortens it ends
/// every program that has it mapped.
pub(crate) struct Sealed(File);

impl Sealed {
    /// Makes a file, has it written, and seals it.
    pub(crate) fn write<T>(
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create("plugin", flags)?);
        let output = write(&mut file)?;
        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok((Self(file), output))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_and_no_longer_changed() {
        let (sealed, length) = Sealed::write(|file| file.write(b"code")).unwrap();
        assert_eq!(length, 4);
        let path = format!("/proc/self/fd/{}", sealed.file().as_raw_fd());
        assert_eq!(fs::read(&path).unwrap(), b"code");
        assert!(sealed.file().write_all(b"more").is_err());
        assert!(sealed.file().set_len(0).is_err());
        assert!(fs::write(&path, b"other").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"code");
    }
}
