//! monoio's own way: a task for each connection, whose buffer goes into the kernel's ring and comes back.
//! Where there is no io_uring it falls back to epoll, and says so on stderr.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let size: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(16 * 1024);
    if !monoio::utils::detect_uring() {
        eprintln!("no io_uring here: epoll");
    }
    let mut runtime =
        monoio::RuntimeBuilder::<monoio::FusionDriver>::new().with_entries(4096).build()?;
    runtime.block_on(serve(port, size))
}

async fn serve(port: u16, size: usize) -> io::Result<()> {
    let options = ListenerOpts::new().backlog(1024).reuse_port(false);
    let listener = TcpListener::bind_with_config(("127.0.0.1", port), &options)?;
    println!("listening on tcp://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        monoio::spawn(async move {
            // A connection that fails has ended; nobody wants to know.
            let _ = echo(stream, size).await;
        });
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (result, filled) = stream.read(buffer).await;
        if result? == 0 {
            return Ok(());
        }
        let (result, written) = stream.write_all(filled).await;
        result?;
        buffer = written;
        buffer.clear();
    }
}
