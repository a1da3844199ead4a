//! Clients that speak TLS by hand, and some that mean harm by it.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use reactor::sim::{Peer, PeerContext, PeerStream};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::seeded::NAME;

/// What a client is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Manner {
    /// It says all, close_notify and FIN, and hears all, close_notify and FIN.
    #[default]
    Honest,
    /// It finishes without close_notify.
    Cut,
    /// It closes when it has said all, and reads nothing.
    Leaves,
    /// It says a word of HTTP, and nothing else.
    Http,
    /// It is gone before the handshake is over.
    Fickle,
    /// It goes silent in the handshake, until all is calm.
    Silent,
    /// One bit of what it sends is wrong.
    Garbled,
}

/// A client: what it says comes back, if it is honest.
pub(super) struct Caller {
    to: &'static str,
    manner: Manner,
    says: Vec<u8>,
    /// So much at a time, with so long a pause.
    size: usize,
    pause: Duration,
    stream: Option<PeerStream>,
    tls: Option<ClientConnection>,
    /// Ciphertext on its way out, and how much has gone.
    out: Vec<u8>,
    gone: usize,
    said: usize,
    heard: usize,
    has_finished: bool,
    outcome: Option<Result<(), String>>,
}

/// What went wrong, or nothing that is anybody's fault.
type Step = Result<(), String>;

impl Caller {
    pub(super) fn new(
        to: &'static str,
        config: Arc<ClientConfig>,
        manner: Manner,
        says: Vec<u8>,
        (size, pause): (usize, Duration),
    ) -> Self {
        let name = ServerName::try_from(NAME).ok();
        let tls = name.and_then(|name| ClientConnection::new(config, name).ok());
        Self {
            to,
            manner,
            says,
            size: size.max(1),
            pause,
            stream: None,
            tls,
            out: Vec::new(),
            gone: 0,
            said: 0,
            heard: 0,
            has_finished: false,
            outcome: None,
        }
    }

    fn is_honest(&self) -> bool {
        self.manner == Manner::Honest
    }

    fn end(&mut self, outcome: Step, stream: PeerStream, cx: &mut PeerContext<'_>) {
        let excused = cx.is_harmed(stream) || !self.is_honest();
        self.outcome.get_or_insert(if excused { Ok(()) } else { outcome });
        cx.close(stream);
    }

    /// What the manner asks for, now and then. Whether it is at its end.
    fn misbehave(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) -> bool {
        let handshaking = self.tls.as_ref().is_none_or(|tls| tls.is_handshaking());
        match self.manner {
            Manner::Http => {
                if self.gone == 0 && cx.write(stream, b"GET / HTTP/1.1\r\n\r\n").is_ok() {
                    self.gone = 1;
                }
                let mut room = [0; 200];
                let told = cx.read(stream, &mut room);
                cx.is_calm() || told.is_ok_and(|count| count == 0)
            }
            Manner::Fickle => {
                handshaking && self.gone > 0 && cx.random().chance(0.2) || cx.is_calm()
            }
            // The server may wait for the rest of what is garbled, for ever if it is that patient.
            Manner::Silent | Manner::Garbled => cx.is_calm(),
            Manner::Leaves => self.said == self.says.len() && self.out.is_empty(),
            _ => false,
        }
    }

    /// Seals and writes, until there is no room or it is time to rest.
    fn write(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) -> Step {
        let Some(tls) = &mut self.tls else { return Err("no TLS".to_owned()) };
        loop {
            if self.gone == self.out.len() {
                (self.out, self.gone) = (Vec::new(), 0);
                if !tls.is_handshaking() && self.said < self.says.len() {
                    let size = cx.random().size(1..self.size + 1);
                    let end = self.says.len().min(self.said + size);
                    let part = self.says.get(self.said..end).unwrap_or_default();
                    self.said += tls.writer().write(part).map_err(|error| error.to_string())?;
                } else if !tls.is_handshaking() && !self.has_finished {
                    self.has_finished = true;
                    if self.manner != Manner::Cut {
                        tls.send_close_notify();
                    }
                }
                while tls.wants_write() {
                    tls.write_tls(&mut self.out).map_err(|error| error.to_string())?;
                }
                if self.manner == Manner::Garbled && cx.random().chance(0.1) {
                    let at = cx.random().size(0..self.out.len().max(1));
                    self.out.get_mut(at).into_iter().for_each(|byte| *byte ^= 4);
                }
                if self.out.is_empty() {
                    break;
                }
            }
            let left = self.out.get(self.gone..).unwrap_or_default();
            let size = cx.random().size(1..self.size + 1).min(left.len());
            match cx.write(stream, left.get(..size).unwrap_or_default()) {
                Ok(count) => self.gone += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("a write says: {error}")),
            }
            if !self.pause.is_zero() && !cx.is_calm() {
                cx.wake_after(self.pause);
                return Ok(());
            }
        }
        if self.has_finished {
            cx.finish(stream).ok();
        }
        Ok(())
    }

    /// Reads and looks at it. Whether that was all.
    fn read(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) -> Result<bool, String> {
        let Some(tls) = &mut self.tls else { return Err("no TLS".to_owned()) };
        let mut room = [0; 2048];
        loop {
            let size = cx.random().size(1..room.len() + 1);
            let count = match cx.read(stream, room.get_mut(..size).unwrap_or_default()) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("a read says: {error}")),
            };
            let mut cipher = room.get(..count).unwrap_or_default();
            loop {
                tls.read_tls(&mut cipher).map_err(|error| error.to_string())?;
                tls.process_new_packets().map_err(|error| format!("TLS says: {error}"))?;
                let mut plain = [0; 4096];
                match tls.reader().read(&mut plain) {
                    Ok(0) if count == 0 => return Ok(true),
                    Ok(0) => {}
                    Ok(count) => {
                        let end = self.heard + count;
                        if self.says.get(self.heard..end) != plain.get(..count) {
                            return Err(format!("it heard something else before byte {end}"));
                        }
                        self.heard = end;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(format!("the end says: {error}")),
                }
                if cipher.is_empty() {
                    break;
                }
            }
        }
    }

    fn speak(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        // What is read has to be answered, in the handshake above all.
        let read = self.write(stream, cx).and_then(|()| self.read(stream, cx));
        let read = read.and_then(|ended| self.write(stream, cx).map(|()| ended));
        match read {
            Ok(false) => {}
            Ok(true) => {
                let whole = self.heard == self.says.len() && self.has_finished;
                let outcome = if whole { Ok(()) } else { Err(self.so_far("the end")) };
                self.end(outcome, stream, cx);
            }
            Err(text) => self.end(Err(self.so_far(&text)), stream, cx),
        }
    }

    fn so_far(&self, what: &str) -> String {
        let Self { said, heard, says, .. } = self;
        format!("a TLS client said {said} and heard {heard} of {} bytes: {what}", says.len())
    }
}

impl Peer for Caller {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let stream = match self.stream {
            Some(stream) => stream,
            None => *self.stream.insert(cx.connect(self.to)),
        };
        if self.misbehave(stream, cx) {
            return self.end(Ok(()), stream, cx);
        }
        let keeps_still = self.manner == Manner::Silent && self.gone > 0;
        if self.manner != Manner::Http && !keeps_still {
            self.speak(stream, cx);
        }
        if self.manner == Manner::Fickle && self.outcome.is_none() {
            cx.wake_after(Duration::from_millis(3));
        }
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.outcome {
            Some(outcome) => outcome.clone(),
            None => Err(self.so_far("it still waits")),
        }
    }
}
