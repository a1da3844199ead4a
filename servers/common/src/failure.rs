//! Exit codes: 0 done, 2 wrong usage, 1 it could not run; and the one line that tells why.

use std::fmt;
use std::process::ExitCode;

use clap::Parser;
use reactor::ListenError;

use crate::escape::Escaped;
use crate::stderr::print_error_line;

/// Why a program ends without having done what it was started for.
///
/// ```
/// use servers_common::Failure;
///
/// let failure = Failure::usage("--cert needs --tls");
/// assert_eq!(failure.to_string(), "error: --cert needs --tls");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was called wrongly: exit 2.
    Usage(String),
    /// It could not run: exit 1.
    Run(String),
}

impl Failure {
    /// It was called wrongly.
    pub fn usage(why: impl fmt::Display) -> Self {
        Self::Usage(why.to_string())
    }

    /// It could not run.
    pub fn run(why: impl fmt::Display) -> Self {
        Self::Run(why.to_string())
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Run(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Run(why) => write!(f, "error: {}", Escaped(why)),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::run(error)
    }
}

/// Reads the arguments, acts, and tells what failed as one line on stderr.
///
/// `defaults` are options whose default is this program's own: their names as fields, and the values.
/// It returns, rather than to exit, so that what `act` owns is dropped: a Unix socket's file goes.
pub fn run<P: Parser>(
    defaults: &[(&'static str, &'static str)],
    act: impl FnOnce(P) -> Result<(), Failure>,
) -> ExitCode {
    let mut command = P::command();
    for &(name, value) in defaults {
        command = command.mut_arg(name, |argument| argument.default_value(value));
    }
    let arguments = command.try_get_matches().and_then(|matches| P::from_arg_matches(&matches));
    match arguments.map(act) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            // Nobody may be there to read it; the exit code says it too.
            print_error_line(&failure.to_string());
            failure.exit_code()
        }
        Err(error) => {
            let _ = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::from(2), ExitCode::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_reason_holds_it_is_one_line() {
        let failure = Failure::run("cannot listen on unix:/a\nb: in use");
        assert_eq!(failure.to_string(), r"error: cannot listen on unix:/a\nb: in use");
    }
}
