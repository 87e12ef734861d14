//! The data folder: one process at a time holds it, and says where it listens.
//!
//! Invariants:
//! - A lock of the kernel on `lock` decides who holds the folder; it ends with the
//!   process, however that ends.
//! - `address` exists only while the holder serves HTTP; the holder removes what a
//!   killed predecessor left before anyone could be misled by it.
//! - `token` is readable by the folder's owner only and new with each holder.
//! - `redaction-key` is readable by the folder's owner only, made once, and never replaced:
//!   with another one, masks of equal values would not join any more.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use url::Url;

use crate::config::Secret;

const LOCK: &str = "lock";
const ADDRESS: &str = "address";
const TOKEN: &str = "token";
const REDACTION_KEY: &str = "redaction-key";

/// The folder as it was found.
#[derive(Debug)]
pub enum Opened {
    /// It is ours until the value is dropped.
    Held(DataDir),
    /// Another process has it.
    HeldBy(Holder),
}

/// The process that holds a folder.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Where it serves HTTP; `None` if it does not, or not yet.
    pub url: Option<Url>,
    pub pid: Option<u32>,
    /// Opens its HTTP interface for the folder's owner.
    pub token: Option<Secret>,
}

/// A folder that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    token: Secret,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Opens the folder, creating it if need be.
    pub fn open(path: &Path) -> io::Result<Opened> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let mut lock = private().read(true).truncate(false).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Opened::HeldBy(holder(path, &mut lock)?)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        remove_if_there(&path.join(ADDRESS))?;
        lock.set_len(0)?;
        write!(lock, "{}", std::process::id())?;
        let token = random();
        replace(path, TOKEN, token.expose())?;
        Ok(Opened::Held(Self { path: path.to_path_buf(), token, _lock: lock }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token that opens our HTTP interface to other commands of the owner.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The key of the masks of personal values, made if there is none yet.
    pub fn redaction_key(&self) -> io::Result<Secret> {
        let path = self.path.join(REDACTION_KEY);
        match fs::read_to_string(&path) {
            Ok(key) if key.trim().is_empty() => {
                let what = format!("{} is empty; restore it, or remove it for a new key", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
            Ok(key) => {
                // Copied or restored with the permissions of somebody's umask.
                fs::set_permissions(&path, Permissions::from_mode(0o600))?;
                Ok(Secret::new(key.trim()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = random();
                replace(&self.path, REDACTION_KEY, key.expose())?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    /// Says where we serve HTTP.
    pub fn announce(&self, address: SocketAddr) -> io::Result<()> {
        replace(&self.path, ADDRESS, &format!("http://{}\n", reachable(address)))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Stale files are harmless: the lock decides. Removing them is a courtesy.
        for name in [ADDRESS, TOKEN] {
            let _ = remove_if_there(&self.path.join(name));
        }
    }
}

fn holder(path: &Path, lock: &mut File) -> io::Result<Holder> {
    let mut pid = String::new();
    lock.rewind()?;
    lock.read_to_string(&mut pid)?;
    let text = |name| fs::read_to_string(path.join(name)).ok().map(|text| text.trim().to_string());
    Ok(Holder {
        url: text(ADDRESS).and_then(|url| url.parse().ok()),
        pid: pid.trim().parse().ok(),
        token: text(TOKEN).filter(|token| !token.is_empty()).map(Secret::new),
    })
}

/// An address under which this host reaches the listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Replaces the file whole: a reader sees the old content or the new.
fn replace(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    remove_if_there(&new)?;
    let mut file = private().create_new(true).open(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, folder.join(name))
}

/// 244 random bits as text.
fn random() -> Secret {
    Secret::new(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(path: &Path) -> DataDir {
        match DataDir::open(path).expect("opens") {
            Opened::Held(folder) => folder,
            Opened::HeldBy(holder) => panic!("held by {holder:?}"),
        }
    }

    #[test]
    fn a_second_opener_learns_where_the_first_listens() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("data");
        let folder = held(&path);
        let Opened::HeldBy(holder) = DataDir::open(&path).expect("opens") else { panic!("opened twice") };
        assert_eq!((holder.url, holder.pid), (None, Some(std::process::id())));
        folder.announce("0.0.0.0:8123".parse().expect("valid")).expect("writes");
        let Opened::HeldBy(holder) = DataDir::open(&path).expect("opens") else { panic!("opened twice") };
        assert_eq!(holder.url.expect("announced").as_str(), "http://127.0.0.1:8123/");
        assert_eq!(holder.token.as_ref(), Some(folder.token()));
        let mode = fs::metadata(path.join(TOKEN)).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "the token is the owner's only");
        let first = folder.token().clone();
        drop(folder);
        assert_ne!(held(&path).token(), &first, "each holder has a new token");
    }

    #[test]
    fn the_redaction_key_is_made_once_and_kept_private() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join(REDACTION_KEY);
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        let folder = held(temporary.path());
        let key = folder.redaction_key().expect("made");
        assert!(key.expose().len() >= 32, "long enough not to be guessed");
        assert_eq!(mode(), 0o600);
        drop(folder);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("can be set");
        let folder = held(temporary.path());
        assert_eq!(folder.redaction_key().expect("read"), key, "the next holder has the same key");
        assert_eq!(mode(), 0o600, "what was opened to others is closed again");
        fs::write(&path, "\n").expect("writes");
        assert!(folder.redaction_key().is_err(), "a lost key is not replaced silently");
    }

    #[test]
    fn what_a_killed_holder_left_misleads_nobody() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        fs::write(temporary.path().join(ADDRESS), "http://127.0.0.1:1/\n").expect("writes");
        let folder = held(temporary.path());
        let Opened::HeldBy(holder) = DataDir::open(temporary.path()).expect("opens") else {
            panic!("opened twice")
        };
        assert_eq!(holder.url, None);
        drop(folder);
    }
}
