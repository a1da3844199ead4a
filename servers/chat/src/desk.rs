//! Where claims are checked: one thread, behind a bounded queue, so that no loop waits for a hash.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use reactor::{Handle, describe};

use crate::accounts::{Accounts, Names, Version};
use crate::hall::{Checked, Claim};
use crate::message::{ChatMessage, Word};

/// Claims that may wait; each takes tens of milliseconds.
const WAITING_MAX: usize = 1024;

/// The thread begins with the first claim, and ends with the desk.
#[derive(Debug)]
pub(crate) struct Desk {
    clerk: Option<Clerk>,
    claims: Option<SyncSender<Claim>>,
}

#[derive(Debug)]
struct Clerk {
    accounts: Accounts,
    /// The file, and the version of it that was read.
    file: Option<(PathBuf, Option<Version>)>,
    answers: Handle<ChatMessage>,
}

impl Desk {
    /// The accounts as they are, the file that they were read from, and who is told the outcome.
    pub(crate) fn new(
        accounts: Accounts,
        path: Option<PathBuf>,
        answers: Handle<ChatMessage>,
    ) -> Self {
        let file = path.map(|path| (path, None));
        Self { clerk: Some(Clerk { accounts, file, answers }), claims: None }
    }

    /// Takes a claim. Whether there was room for it.
    pub(crate) fn take(&mut self, claim: Claim) -> bool {
        if let Some(clerk) = self.clerk.take() {
            let (claims, waiting) = sync_channel(WAITING_MAX);
            let thread = thread::Builder::new().name("accounts".to_owned());
            match thread.spawn(move || clerk.work(&waiting)) {
                Ok(_) => self.claims = Some(claims),
                Err(error) => log::error!("no login is possible: {}", describe(&error)),
            }
        }
        self.claims.as_ref().is_some_and(|claims| claims.try_send(claim).is_ok())
    }
}

impl Clerk {
    fn work(mut self, claims: &Receiver<Claim>) {
        while let Ok(claim) = claims.recv() {
            let names = self.reread();
            let operator = self.accounts.check(claim.user.as_deref(), &claim.password);
            let checked = Checked { claim, operator, names };
            if self.answers.send_blocking(ChatMessage(Word::Checked(checked))).is_err() {
                return; // the loop has stopped
            }
        }
    }

    /// Reads the file again if it has changed, and then the names in it. What cannot be read changes
    /// nothing.
    fn reread(&mut self) -> Option<Names> {
        let (path, known) = self.file.as_mut()?;
        let found = Version::of(path).ok()?;
        if known.replace(found) == Some(found) {
            return None;
        }
        match Accounts::read(path) {
            Ok(accounts) => {
                self.accounts = accounts;
                Some(self.accounts.names())
            }
            Err(error) => {
                log::warn!(
                    "the accounts stay as they were: {}: {}",
                    path.display(),
                    describe(&error)
                );
                None
            }
        }
    }
}
