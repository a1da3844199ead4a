//! Scenarios: scripts of operations, and of what may be seen after each.

use super::language::{Kind, Seen, Who};

/// What is done in a step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Listen {
        backlog: u32,
    },
    CloseListener,
    Connect(Who),
    /// To where there is nobody.
    ConnectTo(Who, Place),
    Accept(Who),
    Register(Who),
    /// Waits, and looks at the edges of one source.
    Edges(Who),
    /// So many bytes, in as many calls as it takes.
    Write(Who, usize),
    /// As much as there is room for at the moment.
    Fill(Who),
    /// As much as ever fits while nobody reads.
    FillUp(Who),
    /// So many bytes, in as many calls as it takes.
    Take(Who, usize),
    /// A share of what is on its way.
    TakeShare(Who, usize),
    /// Until a read says something else than bytes; if bytes or the end are still on their way, it waits
    /// for the edge that tells of them.
    Drain(Who),
    /// One byte, and by whom it was written.
    Whose(Who),
    Finish(Who),
    Reset(Who),
    Close(Who),
    TakeError(Who),
    Connected(Who),
    Bind {
        who: Who,
        small: bool,
    },
    CloseSocket(Who),
    Send(Who, Who, usize),
    /// To where there is nobody.
    SendTo(Who, Place),
    /// So many datagrams of ten bytes, or until one is refused.
    Flood(Who, Who, usize),
    /// With so much room.
    Receive(Who, usize),
    /// Until none is left.
    ReceiveAll(Who),
    Resolve(Who, &'static str),
    /// The answer to this one's question.
    Resolved(Who),
    /// Takes all descriptors that are left, or gives them back.
    Exhaust(bool),
}

/// An address without anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A port that nobody listens on, a socket's file that has been left behind.
    Deserted,
    /// Where the listener was.
    Former,
    /// A path where there is nothing.
    Missing,
}

/// What may be seen, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Vec<(Option<Kind>, Vec<Seen>)>);

impl Allowed {
    pub(crate) fn of(&self, kind: Kind) -> &[Seen] {
        let own = self.0.iter().find(|(of, _)| *of == Some(kind));
        own.or(self.0.iter().find(|(of, _)| of.is_none())).map_or(&[], |(_, set)| set)
    }

    pub(crate) fn unix<const N: usize>(self, set: [Seen; N]) -> Self {
        self.and(Kind::Unix, set)
    }

    pub(crate) fn datagram<const N: usize>(self, set: [Seen; N]) -> Self {
        self.and(Kind::Datagram, set)
    }

    fn and<const N: usize>(mut self, kind: Kind, set: [Seen; N]) -> Self {
        self.0.push((Some(kind), set.into()));
        self
    }
}

impl<const N: usize> From<[Seen; N]> for Allowed {
    fn from(set: [Seen; N]) -> Self {
        Self(vec![(None, set.into())])
    }
}

pub(crate) fn tcp<const N: usize>(set: [Seen; N]) -> Allowed {
    Allowed::default().and(Kind::Tcp, set)
}

pub(crate) fn udp<const N: usize>(set: [Seen; N]) -> Allowed {
    Allowed::default().and(Kind::Udp, set)
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) allowed: Allowed,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What rules it: a man page, an RFC, a function of the kernel.
    pub(crate) rule: &'static str,
    pub(crate) kinds: &'static [Kind],
    pub(crate) steps: Vec<Step>,
    /// Whether buffers are of 16 KiB, instead of what the system gives.
    pub(crate) small: bool,
    /// Whether packets may get lost, overtake one another and come twice, as far as the ground can
    /// make them.
    pub(crate) rough: bool,
}

pub(crate) const STREAMS: &[Kind] = &[Kind::Tcp, Kind::Unix];
pub(crate) const TCP: &[Kind] = &[Kind::Tcp];
pub(crate) const UNIX: &[Kind] = &[Kind::Unix];
pub(crate) const DATAGRAMS: &[Kind] = &[Kind::Udp, Kind::Datagram];

/// Sockets may be small, connections many, and the backlog large enough.
pub(crate) const ROOMY: u32 = 16;

pub(crate) fn scenario(name: &'static str, rule: &'static str, kinds: &'static [Kind]) -> Scenario {
    Scenario { name, rule, kinds, steps: Vec::new(), small: false, rough: false }
}

impl Scenario {
    pub(crate) fn small(mut self) -> Self {
        self.small = true;
        self
    }

    pub(crate) fn rough(mut self) -> Self {
        self.rough = true;
        self
    }

    /// Whether it takes the process's descriptors.
    pub(crate) fn exhausts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.op, Op::Exhaust(_)))
    }

    fn step(mut self, op: Op, allowed: impl Into<Allowed>) -> Self {
        self.steps.push(Step { op, allowed: allowed.into() });
        self
    }

    fn done(self, op: Op) -> Self {
        self.step(op, [Seen::Done])
    }

    pub(crate) fn listen(self) -> Self {
        self.backlog(ROOMY)
    }

    pub(crate) fn backlog(self, backlog: u32) -> Self {
        self.done(Op::Listen { backlog })
    }

    pub(crate) fn close_listener(self) -> Self {
        self.done(Op::CloseListener)
    }

    /// A connection that stands, of which all has been told.
    pub(crate) fn pair(self, client: Who, server: Who) -> Self {
        let listens = self.steps.iter().any(|step| matches!(step.op, Op::Listen { .. }));
        let this = if listens { self } else { self.listen() };
        this.stands(client).accepted(server)
    }

    /// A connection that waits to be accepted, of which all has been told.
    pub(crate) fn stands(self, client: Who) -> Self {
        use super::language::{R, W, edge};
        self.connect(client).edges(Who::L, [edge(R)]).edges(client, [edge(W)])
    }

    /// Accepts a stream on which nothing has arrived.
    pub(crate) fn accepted(self, server: Who) -> Self {
        use super::language::{W, edge};
        self.accept(server, [Seen::Done]).register(server).edges(server, [edge(W)])
    }

    pub(crate) fn connect(self, who: Who) -> Self {
        self.done(Op::Connect(who))
    }

    pub(crate) fn try_connect(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Connect(who), allowed)
    }

    pub(crate) fn connect_to(self, who: Who, to: Place, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::ConnectTo(who, to), allowed)
    }

    pub(crate) fn accept(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Accept(who), allowed)
    }

    pub(crate) fn register(self, who: Who) -> Self {
        self.done(Op::Register(who))
    }

    pub(crate) fn edges(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Edges(who), allowed)
    }

    pub(crate) fn write(self, who: Who, count: usize) -> Self {
        self.done(Op::Write(who, count))
    }

    pub(crate) fn try_write(self, who: Who, count: usize, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Write(who, count), allowed)
    }

    pub(crate) fn fill(self, who: Who) -> Self {
        self.step(Op::Fill(who), [Seen::Part(super::language::LATER)])
    }

    pub(crate) fn fill_up(self, who: Who) -> Self {
        self.step(Op::FillUp(who), [Seen::Part(super::language::LATER)])
    }

    pub(crate) fn take(self, who: Who, count: usize) -> Self {
        self.done(Op::Take(who, count))
    }

    /// One part in so many of what is on its way.
    pub(crate) fn take_share(self, who: Who, parts: usize) -> Self {
        self.done(Op::TakeShare(who, parts))
    }

    pub(crate) fn drain(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Drain(who), allowed)
    }

    pub(crate) fn whose(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Whose(who), allowed)
    }

    pub(crate) fn finish(self, who: Who) -> Self {
        self.done(Op::Finish(who))
    }

    pub(crate) fn try_finish(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Finish(who), allowed)
    }

    pub(crate) fn reset(self, who: Who) -> Self {
        self.done(Op::Reset(who))
    }

    pub(crate) fn close(self, who: Who) -> Self {
        self.done(Op::Close(who))
    }

    pub(crate) fn take_error(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::TakeError(who), allowed)
    }

    pub(crate) fn connected(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Connected(who), allowed)
    }

    /// A datagram socket, of which all has been told.
    pub(crate) fn bind(self, who: Who) -> Self {
        use super::language::{W, edge};
        self.done(Op::Bind { who, small: false }).edges(who, [edge(W)])
    }

    /// The same, with buffers of 4 KiB.
    pub(crate) fn bind_small(self, who: Who) -> Self {
        use super::language::{W, edge};
        self.done(Op::Bind { who, small: true }).edges(who, [edge(W)])
    }

    pub(crate) fn close_socket(self, who: Who) -> Self {
        self.done(Op::CloseSocket(who))
    }

    pub(crate) fn send(self, from: Who, to: Who, count: usize) -> Self {
        self.done(Op::Send(from, to, count))
    }

    pub(crate) fn try_send(
        self,
        from: Who,
        to: Who,
        count: usize,
        allowed: impl Into<Allowed>,
    ) -> Self {
        self.step(Op::Send(from, to, count), allowed)
    }

    pub(crate) fn send_to(self, who: Who, to: Place, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::SendTo(who, to), allowed)
    }

    pub(crate) fn flood(
        self,
        from: Who,
        to: Who,
        count: usize,
        allowed: impl Into<Allowed>,
    ) -> Self {
        self.step(Op::Flood(from, to, count), allowed)
    }

    pub(crate) fn receive(self, who: Who, room: usize, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Receive(who, room), allowed)
    }

    pub(crate) fn receive_all(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::ReceiveAll(who), allowed)
    }

    pub(crate) fn resolve(self, who: Who, host: &'static str) -> Self {
        self.done(Op::Resolve(who, host))
    }

    pub(crate) fn resolved(self, who: Who, allowed: impl Into<Allowed>) -> Self {
        self.step(Op::Resolved(who), allowed)
    }

    pub(crate) fn exhaust(self, exhaust: bool) -> Self {
        self.done(Op::Exhaust(exhaust))
    }
}
