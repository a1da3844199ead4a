//! Connecting: begun, refused, standing.

use crate::language::Problem::{self, BrokenPipe, NotFound, Refused, WouldBlock};
use crate::language::Who::{A, B, C, D, L};
use crate::language::{LATER, R, RW, RWH, RWHE, Seen, Then, W, all, edge, edges, none, nothing};
use crate::script::Place::{Deserted, Former, Missing};
use crate::script::{STREAMS, Scenario, TCP, UNIX, scenario, tcp};

const CONNECT: &str = "connect(2): EINPROGRESS, writable when it is decided, SO_ERROR tells how";
const RFC: &str = "RFC 9293, 3.10.7.1 and 3.10.7.3: a SYN to nobody is answered by RST";
const UNIX_CONNECT: &str = "unix(7): unix_stream_connect succeeds or fails at once";

const END: Seen = Seen::Nothing(Then::End);

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = standing();
    table.extend(refused());
    table.extend(brief());
    table
}

fn standing() -> Vec<Scenario> {
    vec![
        scenario("a connect that succeeds", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .connected(A, tcp([Seen::Stands, Seen::Pending]).unix([Seen::Stands]))
            .edges(A, [edge(W)])
            .connected(A, [Seen::Stands])
            .connected(A, [Seen::Stands])
            .take_error(A, [Seen::NoError])
            .edges(A, [none()]),
        scenario(
            "a write to what does not stand yet waits for it",
            "tcp_sendmsg_locked: EAGAIN in SYN_SENT",
            STREAMS,
        )
        .listen()
        .connect(A)
        .try_write(A, 5, tcp([Seen::Done, Seen::Nothing(LATER)]).unix([Seen::Done]))
        .edges(A, [edge(W)])
        .write(A, 5),
        scenario(
            "a read of what does not stand yet waits for it",
            "tcp_recvmsg_locked: EAGAIN in SYN_SENT",
            STREAMS,
        )
        .listen()
        .connect(A)
        .drain(A, [nothing(WouldBlock)])
        .edges(A, [edge(W)])
        .drain(A, [nothing(WouldBlock)]),
        scenario(
            "bytes and end are kept for who has not been accepted",
            "accept(2): a connection stands before it is accepted",
            STREAMS,
        )
        .listen()
        .stands(A)
        .write(A, 5)
        .finish(A)
        .edges(L, [none()])
        .accept(B, [Seen::Done])
        .drain(B, [Seen::All(Then::End)])
        .write(B, 3)
        .drain(A, [all(WouldBlock)]),
        scenario("bytes for who stands already", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .edges(L, [edge(R)])
            .accept(B, [Seen::Done])
            .write(B, 5)
            .edges(A, [edges([W, RW])])
            .connected(A, [Seen::Stands])
            .drain(A, [all(WouldBlock)]),
        scenario("it stands and has bytes, on one edge or two", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .accept(B, tcp([Seen::Done, Seen::Failed(WouldBlock)]).unix([Seen::Done]))
            .write(B, 5)
            .edges(A, tcp([edge(RW), edges([W, RW]), edge(W)]).unix([edge(RW)]))
            .connected(A, [Seen::Stands])
            .drain(A, tcp([all(WouldBlock), nothing(WouldBlock)]).unix([all(WouldBlock)])),
        scenario(
            "a connection that has ended stands still",
            "getpeername(2): as long as it is not in TCP_CLOSE",
            STREAMS,
        )
        .pair(A, B)
        .close(B)
        .edges(A, [edge(RWH)])
        .connected(A, [Seen::Stands])
        .drain(A, [END]),
        scenario("two clients, each with its own peer", "RFC 9293, 3.3.1", STREAMS)
            .pair(A, B)
            .pair(C, D)
            .write(A, 5)
            .write(C, 7)
            .write(B, 6)
            .write(D, 8)
            .drain(B, [all(WouldBlock)])
            .drain(D, [all(WouldBlock)])
            .drain(A, [all(WouldBlock)])
            .drain(C, [all(WouldBlock)]),
    ]
}

fn refused() -> Vec<Scenario> {
    vec![
        scenario("refused: asking tells it, once", RFC, TCP)
            .connect_to(A, Deserted, [Seen::Done])
            .edges(A, [edge(RWHE)])
            .connected(A, [Seen::Failed(Refused)])
            .connected(A, [Seen::Pending])
            .take_error(A, [Seen::NoError])
            .drain(A, [END])
            .try_write(A, 1, [nothing(BrokenPipe)])
            .edges(A, [none()]),
        scenario("refused: the error is taken", RFC, TCP)
            .connect_to(A, Deserted, [Seen::Done])
            .edges(A, [edge(RWHE)])
            .take_error(A, [Seen::Failed(Refused)])
            .take_error(A, [Seen::NoError])
            .connected(A, [Seen::Pending]),
        scenario("refused: a read tells it, once", RFC, TCP)
            .connect_to(A, Deserted, [Seen::Done])
            .edges(A, [edge(RWHE)])
            .drain(A, [nothing(Refused)])
            .drain(A, [END])
            .take_error(A, [Seen::NoError]),
        scenario("refused: a write tells it, once", RFC, TCP)
            .connect_to(A, Deserted, [Seen::Done])
            .edges(A, [edge(RWHE)])
            .try_write(A, 1, [nothing(Refused)])
            .try_write(A, 1, [nothing(BrokenPipe)])
            .take_error(A, [Seen::NoError])
            .drain(A, [END]),
        scenario("refused at once: the file is left, its listener gone", UNIX_CONNECT, UNIX)
            .connect_to(A, Deserted, [Seen::Failed(Refused)]),
        scenario("refused at once: there is no such file", UNIX_CONNECT, UNIX).connect_to(
            A,
            Missing,
            [Seen::Failed(NotFound)],
        ),
        scenario("refused where somebody listened once", RFC, TCP)
            .pair(A, B)
            .close_listener()
            .connect_to(C, Former, [Seen::Done])
            .edges(C, [edge(RWHE)])
            .connected(C, [Seen::Failed(Refused)])
            .write(A, 5)
            .drain(B, [all(WouldBlock)]),
        scenario(
            "refused at once where somebody listened once",
            "unix(7); the listener's file goes with it",
            UNIX,
        )
        .pair(A, B)
        .close_listener()
        .connect_to(C, Former, [Seen::Failed(NotFound)])
        .write(A, 5)
        .drain(B, [all(WouldBlock)]),
    ]
}

fn brief() -> Vec<Scenario> {
    vec![
        scenario("accepted and closed at once", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .edges(L, [edge(R)])
            .accept(B, [Seen::Done])
            .close(B)
            .edges(A, [edges([W, RWH])])
            .connected(A, [Seen::Stands])
            .drain(A, [END])
            .try_write(A, 1, tcp([Seen::Done]).unix([nothing(BrokenPipe)])),
        scenario("accepted and closed before anybody waits", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .accept(B, tcp([Seen::Done, Seen::Failed(WouldBlock)]).unix([Seen::Done]))
            .close(B)
            .edges(A, tcp([edge(RWH), edges([W, RWH]), edge(W)]).unix([edge(RWH)]))
            .connected(A, [Seen::Stands])
            .drain(A, tcp([END, nothing(WouldBlock)]).unix([END])),
        scenario("accepted, told something and closed at once", CONNECT, STREAMS)
            .listen()
            .connect(A)
            .edges(L, [edge(R)])
            .accept(B, [Seen::Done])
            .write(B, 5)
            .close(B)
            .edges(A, tcp([edges([W, RWH]), edges([W, RW, RWH])]).unix([edges([W, RWH])]))
            .connected(A, [Seen::Stands])
            .drain(A, [Seen::All(Then::End)]),
        scenario(
            "accepted and reset at once",
            "tcp_reset in ESTABLISHED: getpeername(2) says ENOTCONN",
            STREAMS,
        )
        .listen()
        .connect(A)
        .edges(L, [edge(R)])
        .accept(B, [Seen::Done])
        .reset(B)
        .edges(A, tcp([edges([W, RWHE])]).unix([edges([W, RWH])]))
        .connected(A, tcp([Seen::Failed(Problem::Reset)]).unix([Seen::Stands]))
        .connected(A, tcp([Seen::Pending]).unix([Seen::Stands]))
        .drain(A, [END]),
        scenario(
            "accepted and reset before anybody waits",
            "tcp_reset; whoever waits is told what is so by then",
            TCP,
        )
        .listen()
        .connect(A)
        .accept(B, [Seen::Done, Seen::Failed(WouldBlock)])
        .reset(B)
        .edges(A, [edge(RWHE), edges([W, RWHE]), edge(W)])
        .connected(A, [Seen::Failed(Problem::Reset), Seen::Stands])
        .connected(A, [Seen::Pending, Seen::Stands]),
    ]
}
