//! Greets over TLS, or takes TLS off in front of another service. See `tls-server --help`.

use std::process::ExitCode;

use clap::Parser;
use reactor::{Connect, Limits, Target};
use servers_common::{Program, ServerOptions, Traffic, parse_peer, run, serve};
use tls::{Forwarder, Greeter, ProxyVersion};

/// Speaks TLS: greets whoever says something, or forwards what it hears to another service.
///
/// Without --cert it has a development certificate, and tells how a client trusts it.
#[derive(Parser)]
#[command(name = "tls-server", version)]
struct Arguments {
    /// What the first bytes of a client are answered with
    #[arg(long, value_name = "TEXT", default_value = "Hello over TLS", allow_hyphen_values = true)]
    greeting: String,
    /// Forward each client, in plain text, to HOST:PORT or unix:PATH, and back
    #[arg(long, value_name = "ADDR", value_parser = parse_peer, conflicts_with = "greeting")]
    forward: Option<Target>,
    /// Tell the upstream first who its client is, by the PROXY protocol: v1 or v2
    #[arg(long, value_name = "VERSION", requires = "forward")]
    proxy_protocol: Option<ProxyVersion>,
    #[command(flatten)]
    server: ServerOptions,
}

fn main() -> ExitCode {
    run(&[("listen", "127.0.0.1:9443")], |arguments: Arguments| {
        let options = arguments.server.with_tls();
        let mut program = Program {
            name: "tls-server",
            version: env!("CARGO_PKG_VERSION"),
            datagrams: false,
            limits: options.limits(Traffic::Answers),
        };
        match arguments.forward {
            None => {
                let greeter = Greeter::new(&arguments.greeting);
                serve(&options, program, move |_, config| (greeter.clone(), config))
            }
            Some(target) => {
                program.limits = for_pairs(&options, program.limits);
                let proxy = arguments.proxy_protocol;
                serve(&options, program, move |_, config| {
                    let upstream = Connect::to(target.clone());
                    (Forwarder::new(upstream, &target.to_string(), proxy), config)
                })
            }
        }
    })
}

/// Clients alone count; but each of them needs two descriptors.
fn for_pairs(options: &ServerOptions, limits: Limits) -> Limits {
    let max_connections = match (options.max_connections, limits.max_connections) {
        (None, 0) => 0,
        (None, possible) => (possible / 2).max(1),
        (Some(asked), _) => asked,
    };
    Limits { max_connections, counts_outgoing: false, ..limits }
}
