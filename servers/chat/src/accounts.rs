//! The file of accounts, and what is done with a password.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

use crate::names::{is_name, is_reserved};

/// The names of all accounts.
pub(crate) type Names = Arc<BTreeSet<String>>;

/// What the password of a user whom nobody knows is checked against: it takes as long, and never fits.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5aGFzdGhpc3NhbHQ$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const USER: &str = "user";
const OPERATOR: &str = "operator";

/// Who has an account.
///
/// The file has a line for each: `USER user|operator HASH`, the hash as argon2id writes it.
///
/// ```
/// use chat::Accounts;
///
/// let mut accounts = Accounts::default();
/// accounts.set("alice", b"correct horse", true)?;
/// assert_eq!(accounts.check(Some("alice"), b"correct horse"), Some(true));
/// assert_eq!(accounts.check(Some("alice"), b"battery staple"), None);
/// assert_eq!(accounts.check(Some("bob"), b"correct horse"), None);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    accounts: BTreeMap<String, Account>,
}

#[derive(Clone, Debug)]
struct Account {
    is_operator: bool,
    hash: String,
}

impl Accounts {
    /// Reads the file.
    ///
    /// # Errors
    /// What the system says, or `InvalidData` with the line that is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let mut accounts = Self::default();
        for (index, line) in text.lines().enumerate() {
            let (user, account) = parse(line).ok_or_else(|| {
                let text = format!("line {} is no account", index + 1);
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            accounts.accounts.insert(user, account);
        }
        Ok(accounts)
    }

    /// Replaces the file, at once: whoever reads it meanwhile reads the old one or the new one. Nobody
    /// but its owner may read it.
    ///
    /// # Errors
    /// What the system says; the old file stays then.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let beside = path.with_file_name(name);
        let written = self.write_anew(&beside).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside); // what failed is told, not this
        }
        written
    }

    fn write_anew(&self, path: &Path) -> io::Result<()> {
        let _ = fs::remove_file(path); // a leftover of somebody who had our number
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        for (user, Account { is_operator, hash }) in &self.accounts {
            let role = if *is_operator { OPERATOR } else { USER };
            writeln!(file, "{user} {role} {hash}")?;
        }
        file.sync_all()
    }

    /// Makes an account, or replaces it.
    ///
    /// # Errors
    /// Why there cannot be such an account.
    pub fn set(&mut self, user: &str, password: &[u8], is_operator: bool) -> Result<(), String> {
        if !is_name(user) {
            return Err("it is no name".to_owned());
        }
        if is_reserved(user) {
            return Err("the name is reserved".to_owned());
        }
        let salt = SaltString::generate(&mut OsRng);
        let hash = Argon2::default().hash_password(password, &salt);
        let hash = hash.map_err(|error| format!("the password cannot be hashed: {error}"))?;
        let account = Account { is_operator, hash: hash.to_string() };
        self.accounts.insert(user.to_owned(), account);
        Ok(())
    }

    /// Whether `password` is that of `user`, and then whether that is an operator.
    ///
    /// **It takes tens of milliseconds**, and 19 MiB, whether there is such a user or not.
    pub fn check(&self, user: Option<&str>, password: &[u8]) -> Option<bool> {
        let account = user.and_then(|user| self.accounts.get(user));
        let hash = account.map_or(NOBODY, |account| &account.hash);
        let fits = PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
        account.filter(|_| fits).map(|account| account.is_operator)
    }

    pub(crate) fn names(&self) -> Names {
        Arc::new(self.accounts.keys().cloned().collect())
    }
}

fn parse(line: &str) -> Option<(String, Account)> {
    let mut words = line.split(' ');
    let (user, role, hash) = (words.next()?, words.next()?, words.next()?);
    let is_account = is_name(user)
        && matches!(role, USER | OPERATOR)
        && PasswordHash::new(hash).is_ok()
        && words.next().is_none();
    let account = Account { is_operator: role == OPERATOR, hash: hash.to_owned() };
    is_account.then(|| (user.to_owned(), account))
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64, i64, i64, u64);

impl Version {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = File::open(path)?.metadata()?;
        Ok(Self(found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_and_only_its_owner_may() {
        let path = std::env::temp_dir().join(format!("chat-accounts-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut accounts = Accounts::read(&path).unwrap();
        accounts.set("alice", b"a password", true).unwrap();
        accounts.set("bob", b"another", false).unwrap();
        accounts.set("bob", b"a third", false).unwrap();
        let before = Version::of(&path).unwrap();
        accounts.write(&path).unwrap();
        assert_ne!(Version::of(&path).unwrap(), before);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Accounts::read(&path).unwrap();
        assert_eq!(read.check(Some("alice"), b"a password"), Some(true));
        assert_eq!(read.check(Some("bob"), b"a third"), Some(false));
        assert_eq!(read.check(Some("bob"), b"another"), None);
        assert_eq!(read.names().len(), 2);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("bob user $argon2id$") && !text.contains("a third"), "{text}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn nobody_has_a_hash_that_takes_as_long_and_never_fits() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let mut accounts = Accounts::default();
        accounts.set("alice", b"x", false).unwrap();
        let real = PasswordHash::new(&accounts.accounts["alice"].hash).unwrap();
        assert_eq!((hash.algorithm, hash.version), (real.algorithm, real.version));
        assert_eq!(hash.params.to_string(), real.params.to_string());
        assert_eq!(hash.hash.unwrap().len(), real.hash.unwrap().len());
        assert_eq!(accounts.check(None, b"x"), None);
    }

    #[test]
    fn what_is_no_account_is_refused() {
        let mut accounts = Accounts::default();
        for user in ["", "two words", "server", "guest-1", "a\u{202e}"] {
            assert!(accounts.set(user, b"x", false).is_err(), "{user}");
        }
        for line in
            ["", "alice", "alice user", "alice king $argon2id$v=19$x", "a b c d", "a user x"]
        {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
