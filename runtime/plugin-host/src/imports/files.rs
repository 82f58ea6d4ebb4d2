//! `wasi:filesystem`, as wasmtime has it, with a record of each call by a path
//! that is denied: out of a directory, or to change what may only be read.
//!
//! A path outside of all directories never comes here: the plugin's own
//! library knows that there is nothing, and says so.

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use crate::instance::State;

/// Puts these functions in the place of those that are linked already.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<State, Watched>(linker, |state| WatchedFiles(state))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Watched;

impl HasData for Watched {
    type Data<'a> = WatchedFiles<'a>;
}

struct WatchedFiles<'a>(&'a mut State);

impl WatchedFiles<'_> {
    /// Passes on what came of a call, with a record if it was denied.
    async fn watched<T>(&mut self, call: &str, path: &str, result: FsResult<T>) -> FsResult<T> {
        let code = result.as_ref().err().and_then(FsError::downcast_ref);
        if let Some(ErrorCode::NotPermitted | ErrorCode::Access | ErrorCode::ReadOnly) = code {
            self.0.denied(call, path).await;
        }
        result
    }
}

/// Calls of wasmtime's own, for those that come without a path.
macro_rules! passed_on {
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&mut self, $($argument: $type),*) -> $answer {
            self.0.filesystem().$name($($argument),*).await
        })*
    };
}

/// The same for those with a path, which are watched.
macro_rules! watched {
    ($($call:literal async fn $name:ident(
        $($before:ident: $before_type:ty,)* [$path:ident] $(, $after:ident: $after_type:ty)*
    ) -> $answer:ty;)*) => {
        $(async fn $name(
            &mut self,
            $($before: $before_type,)*
            $path: String,
            $($after: $after_type),*
        ) -> $answer {
            let named = $path.clone();
            let result =
                self.0.filesystem().$name($($before,)* $path $(, $after)*).await;
            self.watched($call, &named, result).await
        })*
    };
}

type Fd = Resource<Descriptor>;

impl Host for WatchedFiles<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.0.filesystem().convert_error_code(error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.0.filesystem().filesystem_error_code(error)
    }
}

impl HostDescriptor for WatchedFiles<'_> {
    watched! {
        "filesystem.create-directory-at" async fn create_directory_at(fd: Fd, [path]) -> FsResult<()>;
        "filesystem.stat-at" async fn stat_at(fd: Fd, flags: PathFlags, [path]) -> FsResult<DescriptorStat>;
        "filesystem.set-times-at" async fn set_times_at(
            fd: Fd, flags: PathFlags, [path], accessed: NewTimestamp, modified: NewTimestamp
        ) -> FsResult<()>;
        "filesystem.open-at" async fn open_at(
            fd: Fd, path_flags: PathFlags, [path], open_flags: OpenFlags, flags: DescriptorFlags
        ) -> FsResult<Fd>;
        "filesystem.readlink-at" async fn readlink_at(fd: Fd, [path]) -> FsResult<String>;
        "filesystem.remove-directory-at" async fn remove_directory_at(fd: Fd, [path]) -> FsResult<()>;
        "filesystem.symlink-at" async fn symlink_at(fd: Fd, target: String, [path]) -> FsResult<()>;
        "filesystem.unlink-file-at" async fn unlink_file_at(fd: Fd, [path]) -> FsResult<()>;
        "filesystem.metadata-hash-at" async fn metadata_hash_at(
            fd: Fd, flags: PathFlags, [path]
        ) -> FsResult<MetadataHashValue>;
    }

    passed_on! {
        async fn advise(fd: Fd, offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()>;
        async fn sync_data(fd: Fd) -> FsResult<()>;
        async fn get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        async fn get_type(fd: Fd) -> FsResult<DescriptorType>;
        async fn set_size(fd: Fd, size: Filesize) -> FsResult<()>;
        async fn set_times(fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        async fn read(fd: Fd, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        async fn write(fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize>;
        async fn read_directory(fd: Fd) -> FsResult<Resource<DirectoryEntryStream>>;
        async fn sync(fd: Fd) -> FsResult<()>;
        async fn stat(fd: Fd) -> FsResult<DescriptorStat>;
        async fn is_same_object(one: Fd, other: Fd) -> wasmtime::Result<bool>;
        async fn metadata_hash(fd: Fd) -> FsResult<MetadataHashValue>;
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let named = format!("{path} to {new_path}");
        let result = self.0.filesystem().link_at(fd, flags, path, new_fd, new_path).await;
        self.watched("filesystem.link-at", &named, result).await
    }

    async fn rename_at(
        &mut self,
        fd: Fd,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let named = format!("{path} to {new_path}");
        let result = self.0.filesystem().rename_at(fd, path, new_fd, new_path).await;
        self.watched("filesystem.rename-at", &named, result).await
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.0.filesystem(), fd)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.0.filesystem().read_via_stream(fd, offset)
    }

    fn write_via_stream(
        &mut self,
        fd: Fd,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.0.filesystem().write_via_stream(fd, offset)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.0.filesystem().append_via_stream(fd)
    }
}

impl HostDirectoryEntryStream for WatchedFiles<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.0.filesystem().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.0.filesystem(), stream)
    }
}
