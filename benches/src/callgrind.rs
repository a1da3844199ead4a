//! Instructions of a program, as valgrind's callgrind counts them: those of the program itself, none of the system's.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The same program, counted. Callgrind writes to `log` when it has ended; [`collected`] finds the number.
pub fn counted(program: &Command, log: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--log-file={}", log.display()));
    command.arg(program.get_program()).args(program.get_args());
    command
}

/// Takes the number that callgrind has left in `log`.
///
/// # Errors
/// What it has left instead.
pub fn collected(log: &Path) -> Result<u64, String> {
    let told =
        fs::read_to_string(log).map_err(|error| format!("valgrind has told nothing: {error}"))?;
    // What cannot be removed is in the target folder, and in nobody's way.
    let _ = fs::remove_file(log);
    parse(&told).ok_or_else(|| format!("valgrind says:\n{told}"))
}

/// `==1== Collected : 12345`
fn parse(told: &str) -> Option<u64> {
    let (_, count) = told.lines().find_map(|line| line.split_once("Collected : "))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_tells_is_read() {
        assert_eq!(
            parse("==7== Events    : Ir\n==7== Collected : 153208\n==7== \n"),
            Some(153_208)
        );
        assert_eq!(parse("==7== Command: x\n==7== Collected : none\n"), None);
    }
}
