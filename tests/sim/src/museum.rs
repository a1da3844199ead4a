//! The museum: classic bugs, put back into a copy of the library one at a time. The simulator must find each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::ValueEnum;

use crate::MuseumOptions;
use crate::services::Service;

/// Where the patches are, below the sources.
const PATCHES: &str = "docs/museum";
/// Where the copy is built, below the sources.
const WORKSHOP: &str = "target/museum";
/// What the copy leaves out: it is large, or not needed to build.
const LEFT_OUT: [&str; 3] = ["target", ".git", "docs"];

/// One bug.
struct Exhibit {
    number: u32,
    name: String,
    patch: PathBuf,
}

/// Whether all bugs were found.
pub(crate) fn visit(options: &MuseumOptions) -> Result<bool, String> {
    let sources = options.sources.canonicalize();
    let sources = sources.map_err(told("cannot find", &options.sources))?;
    let exhibits = exhibits(&sources.join(PATCHES))?;
    if let Some(number) = options
        .numbers
        .iter()
        .find(|&&number| !exhibits.iter().any(|exhibit| exhibit.number == number))
    {
        return Err(format!("there is no exhibit {number} in {PATCHES}"));
    }
    let workshop = sources.join(WORKSHOP);
    let copy = workshop.join("sources");
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(told("cannot remove", &copy))?;
    }
    copy_folder(&sources, &copy)?;
    let chosen = |exhibit: &&Exhibit| {
        options.numbers.is_empty() || options.numbers.contains(&exhibit.number)
    };
    let chosen: Vec<&Exhibit> = exhibits.iter().filter(chosen).collect();
    let mut caught = 0;
    for exhibit in &chosen {
        let found = show(exhibit, &workshop, &copy, options.seeds)?;
        caught += usize::from(found.is_some());
        let Exhibit { number, name, .. } = exhibit;
        match found {
            None => println!("{number:02} {name:<36} NOT FOUND"),
            Some(Found { service, line }) => {
                println!("{number:02} {name:<36} {}, {line}", service.name());
                if !options.numbers.is_empty() {
                    tell_replay(exhibit, service, &line);
                }
            }
        }
    }
    println!("{caught} of {} caught", chosen.len());
    Ok(caught == chosen.len())
}

/// How a bug showed itself.
struct Found {
    service: Service,
    /// What the simulator said: the seed, and the promise.
    line: String,
}

/// How to see it with one's own eyes.
fn tell_replay(exhibit: &Exhibit, service: Service, line: &str) {
    let patch = format!("{PATCHES}/{:02}-{}.patch", exhibit.number, exhibit.name);
    let seed = line.strip_prefix("seed ").and_then(|rest| rest.split(':').next()).unwrap_or("1");
    println!("   git apply {patch}");
    println!(
        "   cargo run --release -p sim -- --service {} --seed {seed} --explain | tail -40",
        service.name()
    );
    println!("   git apply -R {patch}");
}

/// All exhibits, in the order of their numbers: files `NN-name.patch`.
fn exhibits(folder: &Path) -> Result<Vec<Exhibit>, String> {
    let mut exhibits = Vec::new();
    for entry in fs::read_dir(folder).map_err(told("cannot read", folder))? {
        let patch = entry.map_err(told("cannot read", folder))?.path();
        let stem = patch.file_name().and_then(|name| name.to_str()?.strip_suffix(".patch"));
        if let Some((number, name)) = stem.and_then(|stem| stem.split_once('-'))
            && let Ok(number) = number.parse()
        {
            exhibits.push(Exhibit { number, name: name.to_owned(), patch });
        }
    }
    exhibits.sort_by_key(|exhibit| exhibit.number);
    Ok(exhibits)
}

/// Puts a bug in, builds, runs every service until one shows it, and takes the bug out again. How it was
/// found, if it was.
fn show(
    exhibit: &Exhibit,
    workshop: &Path,
    copy: &Path,
    seeds: u64,
) -> Result<Option<Found>, String> {
    apply(exhibit, copy, &[])?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", workshop.join("target"));
    let built = output(cargo.args(["build", "--quiet", "--profile", "museum", "-p", "sim"]))?;
    let found = match built.status.success() {
        true => find(workshop, seeds),
        false => Err(format!("{} does not compile:\n{}", exhibit.name, text(&built.stderr))),
    };
    apply(exhibit, copy, &["--reverse"])?;
    found
}

fn find(workshop: &Path, seeds: u64) -> Result<Option<Found>, String> {
    let sim = workshop.join("target/museum/sim");
    for &service in Service::value_variants() {
        let mut run = Command::new(&sim);
        run.args(["--service", service.name(), "--seeds", &seeds.to_string()]);
        let run = output(&mut run)?;
        if !run.status.success() {
            let told = text(&run.stdout);
            let line = told.lines().next().unwrap_or("the program did not survive it");
            return Ok(Some(Found { service, line: line.to_owned() }));
        }
    }
    Ok(None)
}

fn apply(exhibit: &Exhibit, copy: &Path, options: &[&str]) -> Result<(), String> {
    let mut git = Command::new("git");
    // The copy may lie within somebody's repository, which is none of git's business here.
    git.env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy));
    git.current_dir(copy).arg("apply").args(options).arg(&exhibit.patch);
    let applied = output(&mut git)?;
    match applied.status.success() {
        true => Ok(()),
        false => Err(format!("{} does not apply: {}", exhibit.name, text(&applied.stderr))),
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(told("cannot make", to))?;
    for entry in fs::read_dir(from).map_err(told("cannot read", from))? {
        let entry = entry.map_err(told("cannot read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy_folder(&source, &target)?,
            Ok(kind) if kind.is_file() => {
                fs::copy(&source, &target).map_err(told("cannot copy", &source))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| format!("cannot run {program}: {error}"))
}

fn told(what: &'static str, path: &Path) -> impl Fn(io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{what} {path}: {error}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
