//! Edges: when there is one, and what it tells.

use crate::language::Problem::{self, WouldBlock};
use crate::language::Who::{A, B, L};
use crate::language::{R, RW, RWH, Seen, Then, W, all, edge, edges, none, nothing};
use crate::script::{STREAMS, Scenario, scenario, tcp};

const EPOLL: &str = "epoll(7), edge-triggered: an event for each change that sk_data_ready, \
                     sk_write_space or sk_state_change tells of";

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = registered();
    table.extend(news());
    table.extend(levels());
    table
}

fn registered() -> Vec<Scenario> {
    vec![
        scenario(
            "a stream that stands is writable, at both ends",
            "epoll_ctl(2): what is ready already is told",
            STREAMS,
        )
        .listen()
        .connect(A)
        .edges(L, [edge(R)])
        .edges(A, [edge(W)])
        .accept(B, [Seen::Done])
        .register(B)
        .edges(B, [edge(W)])
        .edges(A, [none()]),
        scenario(
            "bytes that came before it was registered are told",
            "epoll_ctl(2); ep_insert polls at once",
            STREAMS,
        )
        .listen()
        .stands(A)
        .write(A, 5)
        .accept(B, [Seen::Done])
        .register(B)
        .edges(B, tcp([edge(RW), edges([W, RW])]).unix([edge(RW)]))
        .drain(B, [all(WouldBlock)])
        .edges(B, [none()]),
        scenario(
            "bytes and end that came before it was registered are told",
            "epoll_ctl(2); tcp_poll: IN and RDHUP from RCV_SHUTDOWN",
            STREAMS,
        )
        .listen()
        .stands(A)
        .write(A, 5)
        .finish(A)
        .accept(B, [Seen::Done])
        .register(B)
        .edges(
            B,
            tcp([edge(RWH), edges([RW, RWH]), edges([W, RWH]), edges([W, RW, RWH])])
                .unix([edge(RWH)]),
        )
        .drain(B, [Seen::All(Then::End)]),
        scenario(
            "a listener for whom nobody waits has nothing to tell",
            "epoll_ctl(2); inet_csk_listen_poll",
            STREAMS,
        )
        .listen()
        .edges(L, [none()])
        .accept(B, [Seen::Failed(WouldBlock)])
        .edges(L, [none()]),
    ]
}

fn news() -> Vec<Scenario> {
    vec![
        scenario("bytes are told once", EPOLL, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .edges(B, [none()])
            .drain(B, [all(WouldBlock)])
            .drain(B, [nothing(WouldBlock)])
            .edges(B, [none()]),
        scenario("bytes after WouldBlock are told", EPOLL, STREAMS)
            .pair(A, B)
            .drain(B, [nothing(WouldBlock)])
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)])
            .write(A, 7)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)]),
        scenario("bytes after a read that took exactly all are told", EPOLL, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .take(B, 5)
            .edges(B, [none()])
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)]),
        scenario("several arrivals may be one edge", "epoll(7): events are combined until they are waited for", STREAMS)
            .pair(A, B)
            .write(A, 1)
            .write(A, 2)
            .write(A, 3)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)])
            .edges(B, [none()]),
        scenario("what a read left is not told again", "epoll(7): go on until EAGAIN", STREAMS)
            .pair(A, B)
            .write(A, 10)
            .edges(B, [edge(RW)])
            .take(B, 4)
            .edges(B, [none()])
            .take(B, 4)
            .edges(B, [none()])
            .drain(B, [all(WouldBlock)]),
        scenario("more bytes are told even if nothing was read", "tcp_data_ready, unix_stream_sendmsg: for each arrival", STREAMS)
            .pair(A, B)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .write(A, 5)
            .edges(B, [edge(RW)])
            .take(B, 3)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)]),
        scenario("an empty write is nothing", "tcp_sendmsg_locked and unix_stream_sendmsg send no packet", STREAMS)
            .pair(A, B)
            .write(A, 0)
            .edges(B, [none()])
            .drain(B, [nothing(WouldBlock)])
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)]),
        scenario("a write that fits makes no edge at the writer", "sk_stream_write_space: only after SOCK_NOSPACE", STREAMS)
            .pair(A, B)
            .write(A, 100)
            .edges(B, [edge(RW)])
            .edges(A, [none()]),
        scenario("who is read from may be told of room that it never lacked", "unix_write_space: whenever a buffer is freed and a quarter or less is in use; tcp: see above", STREAMS)
            .pair(A, B)
            .write(A, 100)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)])
            .edges(A, tcp([none()]).unix([edge(W)]))
            .edges(A, [none()]),
        scenario("an error that there is not cannot be taken", "socket(7), SO_ERROR", STREAMS)
            .pair(A, B)
            .take_error(A, [Seen::NoError])
            .write(A, 1)
            .edges(B, [edge(RW)])
            .take_error(B, [Seen::NoError])
            .drain(B, [all(WouldBlock)])
            .take_error(B, [Seen::NoError]),
    ]
}

fn levels() -> Vec<Scenario> {
    vec![
        scenario(
            "one edge tells of both directions",
            "ep_send_events polls again: an event has all bits of the moment of the wait",
            STREAMS,
        )
        .pair(A, B)
        .write(A, 5)
        .write(B, 5)
        .edges(A, [edge(RW)])
        .edges(B, [edge(RW)])
        .drain(A, [all(WouldBlock)])
        .drain(B, [all(WouldBlock)]),
        scenario(
            "bytes and end come on one edge, or one after the other",
            "ep_send_events polls again",
            STREAMS,
        )
        .pair(A, B)
        .write(A, 5)
        .finish(A)
        .edges(B, tcp([edge(RWH), edges([RW, RWH])]).unix([edge(RWH)]))
        .drain(B, [Seen::All(Then::End)])
        .edges(B, [none()]),
        scenario("bytes that were told, and then the end", EPOLL, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .finish(A)
            .edges(B, [edge(RWH)])
            .drain(B, [Seen::All(Then::End)])
            .edges(B, [none()]),
        scenario("bytes that were read, and then the end", EPOLL, STREAMS)
            .pair(A, B)
            .write(A, 5)
            .edges(B, [edge(RW)])
            .drain(B, [all(WouldBlock)])
            .finish(A)
            .edges(B, [edge(RWH)])
            .drain(B, [Seen::Nothing(Then::End)]),
        scenario(
            "who writes into a stream that has ended there is not told again of that end",
            EPOLL,
            STREAMS,
        )
        .pair(A, B)
        .finish(A)
        .edges(B, [edge(RWH)])
        .write(B, 5)
        .edges(A, [edges([W, RW])])
        .edges(B, [none()])
        .drain(A, [all(WouldBlock)])
        .try_write(A, 1, [nothing(Problem::BrokenPipe)]),
    ]
}
