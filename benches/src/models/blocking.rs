//! The models in which a read waits.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::{Service, sum_of_squares};

/// Clients that wait to be accepted; as many as the reactor has.
const BACKLOG: i32 = 1024;

/// A longer line ends the connection.
const LINE_MAX: u64 = 64 * 1024;

/// A few kilobytes of stack are enough for a line.
const STACK: usize = 128 * 1024;

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    println!("listening on tcp://{}", listener.local_addr()?);
    Ok(listener)
}

/// Serves one connection to its end. What goes wrong with it is its own affair.
fn converse(stream: &TcpStream, work: u64) {
    let _ = stream.set_nodelay(true);
    let mut input = BufReader::new(stream);
    let (mut output, mut line) = (stream, Vec::new());
    loop {
        line.clear();
        match input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(1..) if line.ends_with(b"\n") => {}
            _ => return,
        }
        sum_of_squares(work);
        if output.write_all(&line).is_err() {
            return;
        }
    }
}

/// One thread, and one connection at a time.
pub(super) fn one_by_one(service: Service, port: u16) -> io::Result<()> {
    for stream in listen(port)?.incoming() {
        converse(&stream?, service.work);
    }
    Ok(())
}

/// A thread for each connection.
pub(super) fn threads(service: Service, port: u16) -> io::Result<()> {
    for stream in listen(port)?.incoming() {
        let stream = stream?;
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || converse(&stream, service.work))?;
    }
    Ok(())
}

/// A few threads, each of which takes a connection from the queue and serves it to its end.
pub(super) fn pool(service: Service, port: u16) -> io::Result<()> {
    let listener = listen(port)?;
    let (queue, waiting) = mpsc::channel::<TcpStream>();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..service.pool {
        let waiting = Arc::clone(&waiting);
        let take = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || {
            while let Ok(stream) = take() {
                converse(&stream, service.work);
            }
        })?;
    }
    for stream in listener.incoming() {
        queue.send(stream?).map_err(io::Error::other)?;
    }
    Ok(())
}

/// A process for each connection, which is its standard input. A program that forks does not load itself anew,
/// and is a little cheaper; Rust's standard library has no fork.
pub(super) fn processes(service: Service, port: u16) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let mut children: Vec<Child> = Vec::new();
    for stream in listen(port)?.incoming() {
        let mut command = Command::new(&program);
        command.args(["child", "--work", &service.work.to_string()]);
        command.stdin(Stdio::from(OwnedFd::from(stream?))).stdout(Stdio::null());
        children.push(command.spawn()?);
        // Whoever has ended is a zombie until somebody asks.
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
    Ok(())
}

/// Serves the connection that is this process's standard input, to its end: the child of `processes`.
///
/// # Errors
/// If there is no standard input.
pub fn serve_standard_input(work: u64) -> io::Result<()> {
    let stream = io::stdin().as_fd().try_clone_to_owned()?;
    converse(&TcpStream::from(stream), work);
    Ok(())
}
