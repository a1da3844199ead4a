//! The file of a Unix socket: a stale one is replaced, a live one is not, and it goes at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file that a bound Unix socket made; dropping it removes the file, unless somebody has put
/// another in its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Binds `socket` to `path`, with access for owner and group alone unless `mode` says otherwise.
    ///
    /// Nobody can connect to a stream socket before the mode is set, because it does not listen yet. Two
    /// programs that start on the same path in the same moment may both take it for stale: the later one
    /// has it then.
    pub(crate) fn bind(socket: &Socket, path: &Path, mode: u32) -> io::Result<Self> {
        remove_stale(path, socket.r#type()?)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let metadata = fs::symlink_metadata(path)?;
        let file = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes way for a new socket, if what is at `path` is a socket that nobody listens on.
fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !metadata.file_type().is_socket() {
        let text = "the file exists and is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    // A live listener with a full backlog would make a blocking connect wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::debug!("replacing the stale socket {}", path.display());
            fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // It may be alive or not: that is not ours to find out.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}
