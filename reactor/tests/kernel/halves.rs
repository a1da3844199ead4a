//! FIN: each direction ends for itself.

use crate::language::Problem::{BrokenPipe, NotConnected, WouldBlock};
use crate::language::Who::{A, B};
use crate::language::{RW, RWH, RWHE, Seen, Then, W, all, edge, edges, none, nothing};
use crate::script::{STREAMS, Scenario, TCP, scenario, tcp};

const SHUTDOWN: &str =
    "shutdown(2); RFC 9293, 3.6: a half-closed connection goes on in the other direction";
/// A close with nothing unread is a FIN.
const CLOSE: &str = "RFC 9293, 3.6; tcp_close: FIN if nothing is unread";
const CLOSED: &str = "RFC 9293, 3.10.7.1: a segment to a closed connection is answered by RST; tcp_reset: EPIPE in CLOSE_WAIT";

const END: Seen = Seen::Nothing(Then::End);
const BROKEN: Seen = Seen::Nothing(Then::Failed(BrokenPipe));

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = finishing();
    table.extend(both());
    table.extend(closing());
    table.extend(writing_to_the_closed());
    table
}

fn finishing() -> Vec<Scenario> {
    vec![
        scenario(
            "the end is told once, and read for ever",
            "read(2): 0 is the end; sk_state_change tells",
            STREAMS,
        )
        .pair(A, B)
        .finish(A)
        .edges(B, [edge(RWH)])
        .drain(B, [END])
        .drain(B, [END])
        .edges(B, [none()])
        .drain(B, [END])
        .take_error(B, [Seen::NoError]),
        scenario(
            "who finishes is told of room that it never lacked",
            "inet_shutdown and unix_shutdown wake who polls; so does FIN_WAIT_2",
            STREAMS,
        )
        .pair(A, B)
        .finish(A)
        .edges(A, [edge(W)])
        .drain(A, [nothing(WouldBlock)])
        .take_error(A, [Seen::NoError]),
        scenario(
            "writing after finishing is a broken pipe, and harms nothing",
            "send(2): EPIPE; sk->sk_shutdown",
            STREAMS,
        )
        .pair(A, B)
        .write(A, 5)
        .finish(A)
        .try_write(A, 5, [BROKEN])
        .try_write(A, 5, [BROKEN])
        .take_error(A, [Seen::NoError])
        .edges(A, [edge(W)])
        .write(B, 7)
        .edges(A, [edge(RW)])
        .drain(A, [all(WouldBlock)])
        .drain(B, [Seen::All(Then::End)]),
        scenario("who has read the end can still write", SHUTDOWN, STREAMS)
            .pair(A, B)
            .finish(A)
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .write(B, 3)
            .edges(A, [edges([W, RW])])
            .drain(A, [all(WouldBlock)])
            .write(B, 3)
            .edges(A, [edge(RW)])
            .drain(A, [all(WouldBlock)]),
        scenario(
            "finishing twice is finishing once",
            "tcp_shutdown: nothing in FIN_WAIT; unix_shutdown sets a bit",
            STREAMS,
        )
        .pair(A, B)
        .finish(A)
        .finish(A)
        .edges(B, [edge(RWH)])
        .drain(B, [END])
        .write(B, 3)
        .drain(A, [all(WouldBlock)]),
    ]
}

fn both() -> Vec<Scenario> {
    vec![
        scenario("both finish, one after the other", SHUTDOWN, STREAMS)
            .pair(A, B)
            .finish(A)
            .edges(A, [edge(W)])
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .finish(B)
            .edges(A, [edge(RWH)])
            .edges(B, [edge(RWH)])
            .drain(A, [END])
            .drain(B, [END])
            .try_write(A, 1, [BROKEN])
            .try_write(B, 1, [BROKEN]),
        scenario("both finish at once", "RFC 9293, 3.6, figure 14: simultaneous close", STREAMS)
            .pair(A, B)
            .finish(A)
            .finish(B)
            .edges(A, tcp([edge(RWH), edges([W, RWH])]).unix([edge(RWH)]))
            .edges(B, tcp([edge(RWH), edges([W, RWH])]).unix([edge(RWH)]))
            .drain(A, [END])
            .drain(B, [END]),
        scenario(
            "finishing what has ended in both directions",
            "inet_shutdown: ENOTCONN in TCP_CLOSE; unix_shutdown: a bit",
            STREAMS,
        )
        .pair(A, B)
        .finish(A)
        .edges(A, [edge(W)])
        .edges(B, [edge(RWH)])
        .finish(B)
        .edges(A, [edge(RWH)])
        .edges(B, [edge(RWH)])
        .try_finish(A, tcp([Seen::Failed(NotConnected)]).unix([Seen::Done]))
        .try_finish(B, tcp([Seen::Failed(NotConnected)]).unix([Seen::Done]))
        .drain(A, [END]),
        scenario("an answer, and the end, to who has finished", SHUTDOWN, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .finish(A)
            .edges(A, [edge(W)])
            .drain(B, [Seen::All(Then::End)])
            .write(B, 9)
            .finish(B)
            .edges(A, tcp([edge(RWH), edges([RW, RWH])]).unix([edge(RWH)]))
            .drain(A, [Seen::All(Then::End)]),
    ]
}

fn closing() -> Vec<Scenario> {
    vec![
        scenario("a close looks like finishing", CLOSE, STREAMS)
            .pair(A, B)
            .close(A)
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .drain(B, [END])
            .take_error(B, [Seen::NoError])
            .edges(B, [none()]),
        scenario("what was written before the close is read, and then the end", CLOSE, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .close(A)
            .edges(B, tcp([edge(RWH), edges([RW, RWH])]).unix([edge(RWH)]))
            .drain(B, [Seen::All(Then::End)]),
        scenario("a close after all was read is an end", CLOSE, STREAMS)
            .pair(A, B)
            .write(B, 5)
            .edges(A, [edge(RW)])
            .drain(A, [all(WouldBlock)])
            .close(A)
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .take_error(B, [Seen::NoError]),
        scenario("who has finished sees the other close", CLOSE, STREAMS)
            .pair(A, B)
            .finish(A)
            .edges(A, [edge(W)])
            .edges(B, [edge(RWH)])
            .close(B)
            .edges(A, [edge(RWH)])
            .drain(A, [END])
            .drain(A, [END])
            .try_write(A, 1, [BROKEN]),
        scenario("an answer and a close, to who has finished", CLOSE, STREAMS)
            .pair(A, B)
            .finish(A)
            .edges(A, [edge(W)])
            .edges(B, [edge(RWH)])
            .write(B, 5)
            .close(B)
            .edges(A, tcp([edge(RWH), edges([RW, RWH])]).unix([edge(RWH)]))
            .drain(A, [Seen::All(Then::End)]),
    ]
}

fn writing_to_the_closed() -> Vec<Scenario> {
    vec![
        scenario("the first write to a closed peer succeeds, the second fails", CLOSED, STREAMS)
            .pair(A, B)
            .close(A)
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .try_write(B, 3, tcp([Seen::Done]).unix([BROKEN]))
            .edges(B, tcp([edge(RWHE)]).unix([none()]))
            .try_write(B, 3, [BROKEN])
            .try_write(B, 3, [BROKEN])
            .take_error(B, [Seen::NoError])
            .drain(B, [END]),
        scenario(
            "reading tells nothing of what writing to a closed peer came to",
            "tcp_recvmsg_locked: SOCK_DONE before sk_err",
            TCP,
        )
        .pair(A, B)
        .close(A)
        .edges(B, [edge(RWH)])
        .write(B, 3)
        .edges(B, [edge(RWHE)])
        .drain(B, [END])
        .drain(B, [END])
        .take_error(B, [Seen::Failed(BrokenPipe)])
        .take_error(B, [Seen::NoError])
        .drain(B, [END])
        .try_write(B, 3, [BROKEN]),
        scenario(
            "the last bytes of a closed peer outlive its RST",
            "tcp_reset leaves the receive queue as it is",
            TCP,
        )
        .pair(A, B)
        .write(A, 5)
        .close(A)
        .edges(B, [edge(RWH), edges([RW, RWH])])
        .write(B, 3)
        .edges(B, [edge(RWHE)])
        .drain(B, [Seen::All(Then::End)])
        .take_error(B, [Seen::Failed(BrokenPipe)]),
        scenario(
            "the error of a write to a closed peer, taken before the last bytes are read",
            "tcp_reset; socket(7), SO_ERROR",
            TCP,
        )
        .pair(A, B)
        .write(A, 5)
        .close(A)
        .edges(B, [edge(RWH), edges([RW, RWH])])
        .write(B, 3)
        .edges(B, [edge(RWHE)])
        .take_error(B, [Seen::Failed(BrokenPipe)])
        .drain(B, [Seen::All(Then::End)])
        .try_write(B, 3, [BROKEN])
        .edges(B, [none()]),
    ]
}
