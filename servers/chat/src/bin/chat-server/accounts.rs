//! The file of accounts, as the command line has it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chat::Accounts;
use clap::Subcommand;
use reactor::describe;
use servers_common::Failure;

/// What else it can be asked to do.
#[derive(Subcommand)]
pub(crate) enum Task {
    /// Make an account, or replace it; the password is the first line of stdin
    Passwd {
        /// Where the accounts are
        #[arg(long, value_name = "FILE")]
        accounts: PathBuf,
        /// Whose account
        user: String,
        /// It may kick
        #[arg(long)]
        operator: bool,
    },
}

impl Task {
    /// # Errors
    /// What cannot be, and why.
    pub(crate) fn perform(self) -> Result<(), Failure> {
        let Self::Passwd { accounts, user, operator } = self;
        set_password(&accounts, &user, operator)
    }
}

/// Bytes of a password.
const PASSWORD_MAX: u64 = 1024;

fn set_password(path: &Path, user: &str, is_operator: bool) -> Result<(), Failure> {
    let mut accounts = read_accounts(path, true)?;
    let mut line = Vec::new();
    let cannot_read =
        |error| Failure::run(format!("cannot read the password: {}", describe(&error)));
    io::stdin().take(PASSWORD_MAX + 2).read_to_end(&mut line).map_err(cannot_read)?;
    let password = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() || password.len() as u64 > PASSWORD_MAX {
        return Err(Failure::run(format!("the password must have 1 to {PASSWORD_MAX} bytes")));
    }
    accounts
        .set(user, password, is_operator)
        .map_err(|why| Failure::usage(format!("{user}: {why}")))?;
    accounts.write(path).map_err(|error| {
        let (path, why) = (path.display(), describe(&error));
        Failure::run(format!("cannot write the accounts to {path}: {why}"))
    })
}

/// The accounts in this file.
///
/// # Errors
/// The file, and what is wrong with it.
pub(crate) fn read_accounts(path: &Path, may_be_missing: bool) -> Result<Accounts, Failure> {
    match Accounts::read(path) {
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {
            Ok(Accounts::default())
        }
        read => read.map_err(|error| {
            let (path, why) = (path.display(), describe(&error));
            Failure::run(format!("cannot read the accounts in {path}: {why}"))
        }),
    }
}
