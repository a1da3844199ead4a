//! A program that owns its loop, and has a reactor in it.
//!
//! `cargo run --example embedded`, then type, or `nc 127.0.0.1 9000`. The program waits on a selector of
//! its own, in which the reactor is one source among others: here, beside standard input. It could be
//! the poll(2) of any other library as well.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use reactor::{ConnContext, Handler, Interest, Reactor, ReadBuffer, Selector, Turn};

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        println!("{} has come; {} are here", cx.peer(), cx.connections());
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

const REACTOR: usize = 0;
const STDIN: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let echo = reactor.add(Echo);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    println!("listening on {}", reactor.listen(&echo, address)?.address);

    let mut selector = Selector::new()?;
    selector.register(&reactor, REACTOR, Interest::Read)?;
    // A file is always readable, and not a thing that epoll would watch.
    let watches_stdin = selector.register(&io::stdin(), STDIN, Interest::Read).is_ok();

    loop {
        let until = reactor.next_deadline();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let ready: Vec<_> = selector.select(timeout)?.collect();
        if watches_stdin && ready.iter().any(|&(key, _)| key == STDIN) {
            // Whatever is typed, or the end of it: this program stops, in its own time.
            let _ = io::stdin().read(&mut [0; 256])?;
            reactor.shutdown(Duration::from_secs(1));
        }
        if let Turn::Stopped(report) = reactor.turn(Some(Duration::ZERO))? {
            println!("stopped: {report}");
            return Ok(());
        }
    }
}
