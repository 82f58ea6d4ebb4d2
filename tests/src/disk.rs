//! A disk that is made full.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, which is gone when it is dropped. Needs root.
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts it at `dir`, which is made; `size` is as `mount` has it, such as 64m.
    ///
    /// # Panics
    ///
    /// If that is not permitted.
    #[must_use]
    pub fn mount(dir: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "drover-test"];
        let status = Command::new("mount").args(arguments).arg(&dir).status().unwrap();
        assert!(status.success(), "this test mounts a small tmpfs: run it as root");
        Self { dir }
    }

    /// Leaves no room at all.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        while ballast.write_all(&[0; 65536]).is_ok() {}
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        Path::new(&self.dir).join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever has a file open there keeps it until its end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}
