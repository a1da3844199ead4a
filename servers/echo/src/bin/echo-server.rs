//! Sends back what comes. See `echo-server --help`.

use std::process::ExitCode;

use clap::Parser;
use echo::{Echo, Modes};
use servers_common::{Failure, Program, ServerOptions, Traffic, parse_size, run, serve};

/// Sends back each byte as it came, or each line as the options say.
#[derive(Parser)]
#[command(name = "echo-server", version)]
struct Arguments {
    /// Put this before each line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Send lines back in upper case; what is no UTF-8 becomes U+FFFD
    #[arg(long)]
    upper: bool,
    /// Close, without an answer, at a line that is exactly `bye`
    #[arg(long)]
    bye: bool,
    /// How long a line may be in these modes; a longer one closes the connection; 0: any length
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = parse_size, allow_hyphen_values = true)]
    max_line: usize,
    #[command(flatten)]
    server: ServerOptions,
}

fn main() -> ExitCode {
    run(&[("listen", "127.0.0.1:9002")], serve_echo)
}

fn serve_echo(arguments: Arguments) -> Result<(), Failure> {
    let modes = Modes {
        prefix: arguments.prefix,
        upper: arguments.upper,
        bye: arguments.bye,
        max_line: arguments.max_line,
    };
    let mut limits = arguments.server.limits(Traffic::Answers);
    limits.input_max = 0; // --max-line is the bound
    let version = env!("CARGO_PKG_VERSION");
    let program = Program { name: "echo-server", version, datagrams: true, limits };
    serve(&arguments.server, program, move |_, config| (Echo::new(modes.clone()), config))
}
