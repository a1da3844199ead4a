//! Listeners: who waits, in which order, and for how long.

use crate::language::Problem::{self, Aborted, BrokenPipe, NoDescriptors, WouldBlock};
use crate::language::Who::{A, B, C, D, E, F, L};
use crate::language::{LATER, R, RW, RWH, RWHE, Seen, Then, W, all, edge, edges, none, nothing};
use crate::script::{STREAMS, Scenario, TCP, UNIX, scenario, tcp};

const ACCEPT: &str = "accept(2): the first of the queue; EAGAIN when it is empty";
const EDGES: &str = "epoll(7): an event for each that joins the queue, none for who stays in it";
const BACKLOG: &str = "listen(2); sk_acceptq_is_full: one more than the backlog waits";
const LEFT: &str = "listen(2); inet_csk_listen_stop and unix_release_sock reset who waits";
const GONE: &str = "accept(2): Linux gives out who has gone meanwhile; POSIX allows ECONNABORTED";
const EMFILE: &str = "accept(2), EMFILE: the descriptor is looked for before the queue is touched";

const ACCEPTED: [Seen; 1] = [Seen::Done];
const NOBODY: [Seen; 1] = [Seen::Failed(WouldBlock)];
const END: Seen = Seen::Nothing(Then::End);
const RESET: Seen = Seen::Nothing(Then::Failed(Problem::Reset));

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = queue();
    table.extend(full());
    table.extend(closed());
    table.extend(gone());
    table.extend(exhausted());
    table
}

fn queue() -> Vec<Scenario> {
    vec![
        scenario("several who wait may be one edge", EDGES, STREAMS)
            .listen()
            .connect(A)
            .connect(C)
            .connect(E)
            .edges(A, [edge(W)])
            .edges(C, [edge(W)])
            .edges(E, [edge(W)])
            .edges(L, [edge(R)])
            .accept(B, ACCEPTED)
            .accept(D, ACCEPTED)
            .accept(F, ACCEPTED)
            .accept(F, NOBODY)
            .edges(L, [none()]),
        scenario("who is left in the queue is not told again", EDGES, STREAMS)
            .listen()
            .stands(A)
            .stands(C)
            .accept(B, ACCEPTED)
            .edges(L, [none()])
            .accept(D, ACCEPTED)
            .accept(F, NOBODY),
        scenario("one more is told even if nobody was accepted", EDGES, STREAMS)
            .listen()
            .stands(A)
            .stands(C)
            .stands(E)
            .accept(B, ACCEPTED)
            .accept(D, ACCEPTED)
            .accept(F, ACCEPTED),
        scenario("who comes after EAGAIN is told", EDGES, STREAMS)
            .pair(A, B)
            .accept(D, NOBODY)
            .stands(C)
            .accept(D, ACCEPTED)
            .accept(F, NOBODY),
        scenario("who came first is accepted first", ACCEPT, STREAMS)
            .listen()
            .stands(A)
            .stands(C)
            .stands(E)
            .write(A, 1)
            .write(C, 1)
            .write(E, 1)
            .accept(B, ACCEPTED)
            .accept(D, ACCEPTED)
            .accept(F, ACCEPTED)
            .register(B)
            .register(D)
            .register(F)
            .whose(F, [Seen::From(E)])
            .whose(B, [Seen::From(A)])
            .whose(D, [Seen::From(C)]),
        scenario("of two that come at once, either may be first", ACCEPT, STREAMS)
            .listen()
            .connect(A)
            .connect(C)
            .edges(A, [edge(W)])
            .edges(C, [edge(W)])
            .write(A, 1)
            .write(C, 1)
            .accept(B, ACCEPTED)
            .accept(D, ACCEPTED)
            .register(B)
            .register(D)
            .whose(B, tcp([Seen::From(A), Seen::From(C)]).unix([Seen::From(A)]))
            .whose(D, tcp([Seen::From(A), Seen::From(C)]).unix([Seen::From(C)])),
    ]
}

fn full() -> Vec<Scenario> {
    vec![
        scenario(
            "who comes to a full queue gets in when there is room",
            "tcp_conn_request drops the SYN; RFC 6298, 2.1: it comes again after a second",
            TCP,
        )
        .backlog(0)
        .stands(A)
        .connect(C)
        .edges(C, [none()])
        .connected(C, [Seen::Pending])
        .try_write(C, 1, [Seen::Nothing(LATER)])
        .accept(B, ACCEPTED)
        .accept(D, NOBODY)
        .edges(C, [edge(W)])
        .edges(L, [edge(R)])
        .connected(C, [Seen::Stands])
        .accept(D, ACCEPTED),
        scenario(
            "who comes to a full queue is turned away at once",
            "unix_stream_connect: EAGAIN",
            UNIX,
        )
        .backlog(0)
        .stands(A)
        .try_connect(C, NOBODY)
        .accept(B, ACCEPTED)
        .stands(C)
        .accept(D, ACCEPTED)
        .accept(F, NOBODY),
        scenario("one more than the backlog waits", BACKLOG, STREAMS)
            .backlog(1)
            .stands(A)
            .stands(C)
            .try_connect(E, tcp([Seen::Done]).unix(NOBODY))
            .edges(L, [none()])
            .accept(B, ACCEPTED)
            .accept(D, ACCEPTED)
            .accept(F, NOBODY),
    ]
}

fn closed() -> Vec<Scenario> {
    vec![
        scenario("a listener that closes resets who waits", LEFT, STREAMS)
            .listen()
            .stands(A)
            .close_listener()
            .edges(A, [edge(RWHE)])
            .drain(A, [RESET])
            .drain(A, [END])
            .try_write(A, 1, [nothing(BrokenPipe)]),
        scenario("a listener that closes resets who waits and has written", LEFT, STREAMS)
            .listen()
            .stands(A)
            .write(A, 5)
            .close_listener()
            .edges(A, [edge(RWHE)])
            .take_error(A, [Seen::Failed(Problem::Reset)])
            .drain(A, [END]),
        scenario("a listener that closes is nothing to who was accepted", LEFT, STREAMS)
            .pair(A, B)
            .close_listener()
            .edges(A, [none()])
            .edges(B, [none()])
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)])
            .connected(A, [Seen::Stands]),
    ]
}

fn gone() -> Vec<Scenario> {
    vec![
        scenario("who closed before it was accepted", GONE, STREAMS)
            .listen()
            .stands(A)
            .close(A)
            .accept(B, ACCEPTED)
            .register(B)
            .edges(B, tcp([edge(RWH), edges([W, RWH])]).unix([edge(RWH)]))
            .drain(B, [END])
            .try_write(B, 1, tcp([Seen::Done]).unix([nothing(BrokenPipe)]))
            .edges(B, tcp([edge(RWHE)]).unix([none()]))
            .try_write(B, 1, [nothing(BrokenPipe)]),
        scenario("who wrote and closed before it was accepted", GONE, STREAMS)
            .listen()
            .stands(A)
            .write(A, 5)
            .close(A)
            .accept(B, ACCEPTED)
            .register(B)
            .drain(B, [Seen::All(Then::End)]),
        scenario("who reset before it was accepted", GONE, STREAMS)
            .listen()
            .stands(A)
            .reset(A)
            .accept(B, tcp([Seen::Done, Seen::Failed(Aborted)]).unix(ACCEPTED))
            .register(B)
            .edges(B, tcp([edge(RWHE), edges([W, RWHE])]).unix([edge(RWH)]))
            .drain(B, tcp([RESET]).unix([END]))
            .drain(B, [END])
            .accept(D, NOBODY),
        scenario("who wrote and reset before it was accepted", GONE, STREAMS)
            .listen()
            .stands(A)
            .write(A, 5)
            .edges(A, [none()])
            .reset(A)
            .accept(B, tcp([Seen::Done, Seen::Failed(Aborted)]).unix(ACCEPTED))
            .register(B)
            .edges(B, tcp([edge(RWHE), edges([RW, RWHE])]).unix([edge(RWH)]))
            .drain(B, tcp([all(Problem::Reset)]).unix([Seen::All(Then::End)])),
    ]
}

fn exhausted() -> Vec<Scenario> {
    vec![
        scenario(
            "without descriptors who waits goes on waiting, and is not told again",
            EMFILE,
            STREAMS,
        )
        .listen()
        .stands(A)
        .exhaust(true)
        .accept(B, [Seen::Failed(NoDescriptors)])
        .accept(B, [Seen::Failed(NoDescriptors)])
        .edges(L, [none()])
        .exhaust(false)
        .edges(L, [none()])
        .accept(B, ACCEPTED)
        .register(B)
        .write(A, 5)
        .drain(B, [all(WouldBlock)])
        .accept(D, NOBODY),
        scenario(
            "without descriptors nobody waits, and none is missing",
            "__sys_accept4: the descriptor is looked for first",
            STREAMS,
        )
        .listen()
        .exhaust(true)
        .accept(B, [Seen::Failed(NoDescriptors)])
        .exhaust(false)
        .accept(B, NOBODY)
        .edges(L, [none()]),
        scenario(
            "without descriptors one cannot even begin to connect",
            "socket(2), EMFILE",
            STREAMS,
        )
        .pair(A, B)
        .exhaust(true)
        .try_connect(C, [Seen::Failed(NoDescriptors)])
        .write(A, 5)
        .edges(B, [edge(RW)])
        .drain(B, [all(WouldBlock)])
        .exhaust(false)
        .stands(C),
    ]
}
