//! What the programs share, once: arguments, logs, listeners, loops, signals, metrics and exit codes.
//!
//! A server's `main` says what it serves; everything around that is here.
//!
//! ```no_run
//! use clap::Parser;
//! use reactor::{ConnContext, Handler, ReadBuffer};
//! use servers_common::{Program, ServerOptions, Traffic, run, serve};
//!
//! /// Sends back what comes.
//! #[derive(Parser)]
//! struct Arguments {
//!     #[command(flatten)]
//!     server: ServerOptions,
//! }
//!
//! struct Echo;
//! impl Handler for Echo {
//!     type Session = ();
//!     type Message = std::convert::Infallible;
//!     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
//!     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
//!         cx.forward(input);
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run(&[("listen", "127.0.0.1:9002")], |arguments: Arguments| {
//!         let program = Program {
//!             name: "echo-server",
//!             version: env!("CARGO_PKG_VERSION"),
//!             datagrams: false,
//!             limits: arguments.server.limits(Traffic::Answers),
//!         };
//!         serve(&arguments.server, program, |_, config| (Echo, config))
//!     })
//! }
//! ```
//!
//! # What there is
//! | | |
//! |---|---|
//! | a program | [`run`], [`Failure`], [`LogOptions`] |
//! | a server | [`ServerOptions`], [`Program`], [`serve`], [`serve_with`], [`Extras`], [`Number`], [`Traffic`], [`ListenAddress`] |
//! | a client | [`ClientOptions`], [`Backoff`], [`explain_connect`], [`explain_close`] |
//! | the terminal | [`Input`], [`Output`], [`print_line`], [`print_error_line`] |
//! | values | [`parse_duration`], [`parse_size`], [`parse_peer`], [`Escaped`] |

#![deny(missing_docs)]

mod address;
mod backoff;
mod client;
mod client_tls;
mod development;
mod escape;
mod failure;
mod limits;
mod listeners;
mod logging;
mod loops;
mod metrics;
mod options;
mod page;
mod request;
mod serve;
mod stderr;
mod stdio;
mod tls;
mod trace;
mod units;

pub use address::{ListenAddress, parse_peer};
pub use backoff::Backoff;
pub use client::{ClientOptions, explain_close, explain_connect};
pub use escape::Escaped;
pub use failure::{Failure, run};
pub use limits::Traffic;
pub use logging::LogOptions;
pub use loops::Farewell;
pub use metrics::{Number, Numbers};
pub use options::ServerOptions;
pub use serve::{Extras, Program, serve, serve_with};
pub use stderr::print_error_line;
pub use stdio::{Input, InputEvent, Output, OutputEvent, Unit, print_line, stdout_file};
pub use units::{parse_duration, parse_size};
