//! tokio's own way: a task for each connection, with a buffer of its own, on one thread.
//!
//! The second argument is the buffer's size: 8 KiB as in tokio's own `copy`, or 64 KiB, which the others
//! have too, but one for all.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let size: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(8 * 1024);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on tcp://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A connection that fails has ended; nobody wants to know.
            let _ = echo(stream, size).await;
        });
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
