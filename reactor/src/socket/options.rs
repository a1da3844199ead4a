//! The options that a listener gives to what it accepts, and a connect to what it opens.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// TCP keep-alive and its three times; see tcp(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe; `TCP_KEEPIDLE`, in whole seconds.
    pub idle: Duration,
    /// Time between probes; `TCP_KEEPINTVL`, in whole seconds.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up; `TCP_KEEPCNT`.
    pub probes: u32,
}

impl Default for KeepAlive {
    /// 60 s, then 5 probes 10 s apart: a vanished peer is noticed in less than two minutes.
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 5 }
    }
}

/// Options of a stream socket. Those that are `None` are left as the system has them.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    pub(crate) no_delay: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

impl StreamOptions {
    /// Sets them on a TCP socket. What a listening socket has, accepted ones have too (Linux and the
    /// BSDs copy them), so they cost nothing per connection.
    pub(crate) fn apply_tcp(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.no_delay)?;
        if let Some(KeepAlive { idle, interval, probes }) = self.keep_alive {
            let keep_alive =
                TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
            socket.set_tcp_keepalive(&keep_alive)?;
        }
        #[cfg(target_os = "linux")]
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        self.apply_buffers(socket)
    }

    /// Sets those that any socket has.
    pub(crate) fn apply_buffers(&self, socket: SockRef<'_>) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

/// The builder methods that [`Listen`](crate::Listen) and [`Connect`](crate::Connect) share.
macro_rules! stream_option_methods {
    () => {
        /// Whether small writes leave at once (`TCP_NODELAY`). Default: yes; the loop coalesces writes
        /// itself.
        pub fn no_delay(mut self, no_delay: bool) -> Self {
            self.options.no_delay = no_delay;
            self
        }

        /// Probes a silent peer. Default: no.
        pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
            self.options.keep_alive = Some(keep_alive);
            self
        }

        /// How long sent bytes may stay unacknowledged before the system gives the connection up
        /// (`TCP_USER_TIMEOUT`, in whole milliseconds; Linux alone). Default: as the system has it.
        pub fn user_timeout(mut self, timeout: Duration) -> Self {
            self.options.user_timeout = Some(timeout);
            self
        }

        /// Bytes of the kernel's send buffer (`SO_SNDBUF`, which Linux doubles). Default: the system's,
        /// which tunes itself.
        pub fn send_buffer(mut self, bytes: usize) -> Self {
            self.options.send_buffer = Some(bytes);
            self
        }

        /// Bytes of the kernel's receive buffer (`SO_RCVBUF`, which Linux doubles). Default: the
        /// system's, which tunes itself.
        pub fn receive_buffer(mut self, bytes: usize) -> Self {
            self.options.receive_buffer = Some(bytes);
            self
        }
    };
}
pub(crate) use stream_option_methods;
