//! The models in which nothing waits but the loop.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;

use reactor_bare::framing::LineFraming;
use reactor_bare::{
    Config, ConnContext, Handler, Listen, ListenError, Pool, Reactor, ReadBuffer, Setup,
};

use super::{Service, sum_of_squares};

const LINE_MAX: usize = 64 * 1024;

/// Sends lines back, after its work for each.
struct Lines {
    work: u64,
}

impl Handler for Lines {
    type Session = LineFraming;
    type Message = Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) -> LineFraming {
        LineFraming::new(LINE_MAX)
    }

    fn on_data(
        &mut self,
        framing: &mut LineFraming,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        while !cx.is_full()
            && let Some(line) = framing.next(input).transpose()
        {
            let Ok(line) = line else { return cx.close() };
            sum_of_squares(self.work);
            cx.send(line.text);
            cx.send(line.ending);
        }
    }
}

fn listen(port: u16) -> Listen {
    Listen::at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// One loop.
pub(super) fn one(service: Service, port: u16) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    let lines = reactor.add(Lines { work: service.work });
    let opened = reactor.listen(&lines, listen(port)).map_err(io::Error::other)?;
    println!("listening on tcp://{}", opened.address);
    reactor.run().map(drop)
}

/// Several loops, among which the kernel shares out the connections.
pub(super) fn several(service: Service, port: u16) -> io::Result<()> {
    let (told, addresses) = channel();
    let listeners = listen(port).open_for(service.loops).map_err(io::Error::other)?;
    let setups = listeners.into_iter().map(|listen| -> Setup {
        let told = told.clone();
        Box::new(move |reactor| {
            let lines = reactor.add(Lines { work: service.work });
            let opened = reactor.listen(&lines, listen);
            let opened = opened.map_err(|error: ListenError| io::Error::other(error))?;
            told.send(opened.address).map_err(io::Error::other)
        })
    });
    let pool = Pool::start(Config::default(), setups.collect())?;
    let address = addresses.recv().map_err(io::Error::other)?;
    println!("listening on tcp://{address}");
    pool.join().map(drop)
}
