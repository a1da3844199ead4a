//! RST: what it tells, to whom, and what it destroys.

use crate::language::Problem::{self, BrokenPipe, NotConnected, WouldBlock};
use crate::language::Who::{A, B, C, D};
use crate::language::{LATER, RW, RWH, RWHE, Seen, Then, W, all, edge, edges, none, nothing, part};
use crate::script::{STREAMS, Scenario, TCP, scenario, tcp};

const UNREAD: &str = "RFC 1122, 4.2.2.13; tcp_close and unix_release_sock: input is unread";
const LINGER: &str = "tcp_disconnect by linger zero, socket(7): RST; Unix sockets know none";
const QUEUE: &str = "tcp_reset leaves the receive queue as it is; tcp_recvmsg_locked: bytes, then sk_err, then the end";
const CLOSE_WAIT: &str =
    "tcp_reset: EPIPE in CLOSE_WAIT; tcp_recvmsg_locked: SOCK_DONE before sk_err";

const END: Seen = Seen::Nothing(Then::End);
const BROKEN: Seen = Seen::Nothing(Then::Failed(BrokenPipe));
const RESET: Seen = Seen::Nothing(Then::Failed(Problem::Reset));

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = unread();
    table.extend(told_once());
    table.extend(lingering());
    table.extend(in_flight());
    table.extend(after_the_end());
    table
}

/// A has input that it does not read.
fn unread_at_a(name: &'static str, rule: &'static str) -> Scenario {
    scenario(name, rule, STREAMS).pair(A, B).write(B, 5).edges(A, [edge(RW)])
}

fn unread() -> Vec<Scenario> {
    vec![
        unread_at_a("a close with unread input resets", UNREAD)
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [RESET])
            .drain(B, [END])
            .try_write(B, 3, [BROKEN])
            .take_error(B, [Seen::NoError])
            .edges(B, [none()]),
        unread_at_a("what had arrived before the reset is still read", QUEUE)
            .write(A, 7)
            .edges(B, [edge(RW)])
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [all(Problem::Reset)])
            .drain(B, [END]),
        unread_at_a("what a read had left is still read after the reset", QUEUE)
            .write(A, 7)
            .edges(B, [edge(RW)])
            .take(B, 3)
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [all(Problem::Reset)])
            .drain(B, [END]),
        unread_at_a("a close with input of which a part is unread resets", UNREAD)
            .take(A, 2)
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [RESET]),
        unread_at_a("bytes and reset at once", "RFC 9293, 3.10.7.4: RST is taken in order, RFC 5961, 3.2; bytes that were lost stay lost")
            .rough()
            .write(A, 7)
            .close(A)
            .edges(B, tcp([edge(RWHE), edges([RW, RWHE])]).unix([edge(RWHE)]))
            .drain(B, tcp([all(Problem::Reset), RESET]).unix([all(Problem::Reset)])),
        unread_at_a("who has finished, and is reset by a close with unread input", UNREAD)
            .finish(B)
            .edges(A, [edge(RWH)])
            .edges(B, [edge(W)])
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [RESET])
            .drain(B, [END])
            .try_write(B, 1, [BROKEN]),
    ]
}

fn told_once() -> Vec<Scenario> {
    vec![
        unread_at_a(
            "the error is taken: nobody else is told, and what arrived is read",
            "socket(7), SO_ERROR: get and clear",
        )
        .write(A, 7)
        .edges(B, [edge(RW)])
        .close(A)
        .edges(B, [edge(RWHE)])
        .take_error(B, [Seen::Failed(Problem::Reset)])
        .take_error(B, [Seen::NoError])
        .drain(B, [Seen::All(Then::End)])
        .try_write(B, 3, [BROKEN])
        .edges(B, [none()]),
        unread_at_a(
            "the write is told: then it is a broken pipe",
            "tcp_sendmsg_locked, sk_stream_error: sk_err once; unix_stream_sendmsg: EPIPE alone",
        )
        .close(A)
        .edges(B, [edge(RWHE)])
        .try_write(B, 3, tcp([RESET]).unix([BROKEN]))
        .try_write(B, 3, [BROKEN])
        .drain(B, tcp([END]).unix([RESET]))
        .take_error(B, [Seen::NoError])
        .drain(B, [END]),
        scenario("the read is told: then it is the end", QUEUE, TCP)
            .pair(A, B)
            .reset(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [RESET])
            .drain(B, [END])
            .drain(B, [END])
            .take_error(B, [Seen::NoError])
            .try_write(B, 1, [BROKEN])
            .try_write(B, 1, [BROKEN]),
        scenario("a reset stream does not stand", "getpeername(2): ENOTCONN in TCP_CLOSE", TCP)
            .pair(B, A)
            .reset(A)
            .edges(B, [edge(RWHE)])
            .connected(B, [Seen::Failed(Problem::Reset)])
            .connected(B, [Seen::Pending])
            .drain(B, [END]),
    ]
}

fn lingering() -> Vec<Scenario> {
    vec![
        scenario("a reset", LINGER, STREAMS)
            .pair(A, B)
            .reset(A)
            .edges(B, tcp([edge(RWHE)]).unix([edge(RWH)]))
            .drain(B, tcp([RESET]).unix([END]))
            .drain(B, [END])
            .try_write(B, 3, [BROKEN])
            .take_error(B, [Seen::NoError]),
        scenario("a reset, and what had arrived", QUEUE, STREAMS)
            .pair(A, B)
            .write(A, 7)
            .edges(B, [edge(RW)])
            .reset(A)
            .edges(B, tcp([edge(RWHE)]).unix([edge(RWH)]))
            .take(B, 3)
            .drain(B, tcp([all(Problem::Reset)]).unix([Seen::All(Then::End)]))
            .drain(B, [END]),
        scenario(
            "bytes and a reset at once",
            "RFC 5961, 3.2: bytes that were lost stay lost",
            STREAMS,
        )
        .rough()
        .pair(A, B)
        .write(A, 7)
        .reset(A)
        .edges(B, tcp([edge(RWHE), edges([RW, RWHE])]).unix([edge(RWH)]))
        .drain(B, tcp([all(Problem::Reset), RESET]).unix([Seen::All(Then::End)])),
        scenario(
            "finishing what was reset",
            "inet_shutdown: ENOTCONN in TCP_CLOSE; unix_shutdown: a bit",
            STREAMS,
        )
        .pair(A, B)
        .reset(A)
        .edges(B, tcp([edge(RWHE)]).unix([edge(RWH)]))
        .try_finish(B, tcp([Seen::Failed(NotConnected)]).unix([Seen::Done]))
        .drain(B, tcp([RESET]).unix([END]))
        .try_write(B, 1, [BROKEN]),
        scenario("a reset with unread input is no other", LINGER, STREAMS)
            .pair(A, B)
            .write(B, 5)
            .edges(A, [edge(RW)])
            .reset(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [RESET])
            .drain(B, [END]),
        scenario(
            "a reset of one is nothing to the others",
            "RFC 9293, 3.3.1: a connection is its two sockets",
            STREAMS,
        )
        .pair(A, B)
        .pair(C, D)
        .write(C, 5)
        .edges(D, [edge(RW)])
        .reset(A)
        .edges(B, tcp([edge(RWHE)]).unix([edge(RWH)]))
        .edges(D, [none()])
        .drain(D, [all(WouldBlock)])
        .write(D, 5)
        .edges(C, [edge(RW)])
        .drain(C, [all(WouldBlock)]),
    ]
}

fn in_flight() -> Vec<Scenario> {
    vec![
        scenario(
            "a reset destroys what has not left",
            "tcp_disconnect purges the write queue; Unix bytes are with the peer already",
            STREAMS,
        )
        .small()
        .pair(A, B)
        .fill_up(A)
        .reset(A)
        .edges(B, tcp([edges([RW, RWHE])]).unix([edges([RW, RWH])]))
        .drain(B, tcp([part(Problem::Reset)]).unix([Seen::All(Then::End)]))
        .drain(B, [END]),
        scenario("a close with unread input destroys what has not left", UNREAD, STREAMS)
            .small()
            .pair(A, B)
            .fill_up(A)
            .write(B, 5)
            .edges(A, [edge(crate::language::R)])
            .close(A)
            .edges(B, [edges([RW, RWHE])])
            .drain(B, tcp([part(Problem::Reset)]).unix([all(Problem::Reset)]))
            .drain(B, [END]),
        scenario(
            "a reset destroys what its peer has yet to send",
            "tcp_reset, tcp_done: the write queue is purged",
            STREAMS,
        )
        .small()
        .pair(A, B)
        .fill_up(A)
        .reset(B)
        .edges(A, [edge(RWHE)])
        .try_write(A, 5, tcp([RESET]).unix([BROKEN]))
        .try_write(A, 5, [BROKEN])
        .drain(A, tcp([END]).unix([RESET])),
        scenario(
            "one who is full is told of the reset, though nothing was read",
            "tcp_poll: OUT when SEND_SHUTDOWN or HUP; sk_error_report wakes",
            TCP,
        )
        .small()
        .pair(A, B)
        .fill_up(A)
        .try_write(A, 1, [Seen::Nothing(LATER)])
        .close(B)
        .edges(A, [edge(RWHE)])
        .take_error(A, [Seen::Failed(Problem::Reset)])
        .drain(A, [END]),
    ]
}

fn after_the_end() -> Vec<Scenario> {
    vec![
        scenario("a reset after FIN is told by no read", CLOSE_WAIT, TCP)
            .pair(A, B)
            .finish(A)
            .edges(B, [edge(RWH)])
            .reset(A)
            .edges(B, [edge(RWHE)])
            .drain(B, [END])
            .drain(B, [END])
            .take_error(B, [Seen::Failed(BrokenPipe)])
            .take_error(B, [Seen::NoError])
            .try_write(B, 1, [BROKEN]),
        scenario("a reset after FIN is a broken pipe to who writes", CLOSE_WAIT, TCP)
            .pair(A, B)
            .finish(A)
            .edges(B, [edge(RWH)])
            .drain(B, [END])
            .reset(A)
            .edges(B, [edge(RWHE)])
            .try_write(B, 1, [BROKEN])
            .take_error(B, [Seen::NoError])
            .drain(B, [END]),
        scenario("a close with unread input after FIN", CLOSE_WAIT, STREAMS)
            .pair(A, B)
            .write(B, 5)
            .edges(A, [edge(RW)])
            .write(A, 7)
            .finish(A)
            .edges(B, tcp([edge(RWH), edges([RW, RWH])]).unix([edge(RWH)]))
            .close(A)
            .edges(B, [edge(RWHE)])
            .drain(B, tcp([Seen::All(Then::End)]).unix([all(Problem::Reset)]))
            .drain(B, [END])
            .take_error(B, tcp([Seen::Failed(BrokenPipe)]).unix([Seen::NoError])),
        scenario(
            "who has finished sees a reset as one",
            "tcp_reset: ECONNRESET in FIN_WAIT_2",
            STREAMS,
        )
        .pair(A, B)
        .finish(B)
        .edges(B, [edge(W)])
        .edges(A, [edge(RWH)])
        .reset(A)
        .edges(B, tcp([edge(RWHE)]).unix([edge(RWH)]))
        .drain(B, tcp([RESET]).unix([END]))
        .drain(B, [END])
        .try_write(B, 1, [nothing(BrokenPipe)]),
    ]
}
