//! The reactor with a handler and nothing else: no options, no metrics, no signals, no limit that the library does
//! not have by itself. What a server of ours costs above it is the server's.

use reactor_bare::{ConnContext, Handler, Reactor, ReadBuffer};

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut reactor = Reactor::new()?;
    let echo = reactor.add(Echo);
    println!("listening on tcp://{}", reactor.listen(&echo, address.as_str())?.address);
    reactor.run()?;
    Ok(())
}
