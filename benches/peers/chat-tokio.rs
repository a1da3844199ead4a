//! A chat as tokio's own example has it (`examples/chat.rs`): a task for each client, which has a queue (mpsc) that
//! the others put copies of their lines in, a lock around who is there, and `Framed` with `LinesCodec`. On one thread.
//!
//! It asks for no name, and says nothing of who comes and goes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::SinkExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::StreamExt;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

type Sender = mpsc::UnboundedSender<String>;

#[derive(Default)]
struct Shared {
    peers: HashMap<SocketAddr, Sender>,
}

impl Shared {
    /// Tells everyone but who has said it.
    async fn broadcast(&mut self, speaker: SocketAddr, message: &str) {
        for (address, queue) in &mut self.peers {
            if *address != speaker {
                let _ = queue.send(message.into()); // who has gone hears nothing
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on tcp://{}", listener.local_addr()?);
    let state = Arc::new(Mutex::new(Shared::default()));
    for number in 0_usize.. {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A client that has failed is gone.
            let _ = process(&state, stream, address, &format!("guest-{number}")).await;
            state.lock().await.peers.remove(&address);
        });
    }
    Ok(())
}

async fn process(
    state: &Mutex<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    name: &str,
) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new());
    let (queue, mut messages) = mpsc::unbounded_channel();
    state.lock().await.peers.insert(address, queue);
    loop {
        tokio::select! {
            Some(message) = messages.recv() => lines.send(&message).await?,
            result = lines.next() => match result {
                Some(line) => {
                    let message = format!("{name}: {}", line?);
                    state.lock().await.broadcast(address, &message).await;
                }
                None => return Ok(()),
            },
        }
    }
}
