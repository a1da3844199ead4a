//! Where figures come from: they mean nothing without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// What was measured on, with what, and when. What cannot be found is `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub rustc: String,
    /// Of the sources that this was started from; `+` if they have been changed since.
    pub commit: String,
}

impl Machine {
    pub fn here() -> Self {
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
        let is_changed = match output("git", &["status", "--porcelain"]).as_str() {
            "" | UNKNOWN => "",
            _ => "+",
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            processor: processor(&processors),
            cores: available_parallelism().map_or(1, usize::from),
            kernel: or_unknown(&kernel),
            rustc: output("rustc", &["--version"]),
            commit: format!("{commit}{is_changed}"),
        }
    }
}

const UNKNOWN: &str = "unknown";

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

fn processor(text: &str) -> String {
    let named = text.lines().find_map(|line| line.strip_prefix("model name"));
    or_unknown(named.unwrap_or_default().trim_start_matches(['\t', ' ', ':']))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    match output {
        Ok(output) if output.status.success() && program == "git" => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        Ok(output) if output.status.success() => {
            or_unknown(&String::from_utf8_lossy(&output.stdout))
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn or_unknown(text: &str) -> String {
    match text.trim() {
        "" => UNKNOWN.to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_a_name_or_is_unknown() {
        let text = "processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\nmodel name\t: B\n";
        assert_eq!(processor(text), "A Fast One @ 3 GHz");
        assert_eq!(processor("processor: 0"), UNKNOWN);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && machine.kernel != UNKNOWN);
        assert!(root().join("Cargo.lock").exists());
    }
}
