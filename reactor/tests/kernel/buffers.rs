//! Buffers: bounded, in order, and telling of room.

use crate::language::Problem::{BrokenPipe, WouldBlock};
use crate::language::Who::{A, B};
use crate::language::{
    LATER, R, RH, RW, RWH, RWHE, Seen, Then, W, all, edge, edges, none, nothing,
};
use crate::script::{STREAMS, Scenario, UNIX, scenario, tcp};

const BOUNDED: &str = "socket(7), SO_SNDBUF and SO_RCVBUF; tcp(7)";
const ROOM: &str = "sk_stream_is_writeable: a third is free; unix_writable: three quarters are";
const LEVEL: &str = "tcp_poll and unix_poll: no OUT while the buffer is full";

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = filling();
    table.extend(levels());
    table.extend(ends());
    table
}

fn full(name: &'static str, rule: &'static str) -> Scenario {
    scenario(name, rule, STREAMS).small().pair(A, B).fill_up(A)
}

fn filling() -> Vec<Scenario> {
    vec![
        scenario("what fits is read in order, every byte", BOUNDED, STREAMS)
            .small()
            .pair(A, B)
            .fill(A)
            .drain(B, [all(WouldBlock)])
            .fill(A)
            .drain(B, [all(WouldBlock)])
            .fill(A)
            .drain(B, [all(WouldBlock)]),
        scenario("buffers of the system's size are bounded too", BOUNDED, STREAMS)
            .pair(A, B)
            .fill(A)
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)])
            .write(A, 5)
            .drain(B, [all(WouldBlock)]),
        full("who was full is told of room when all was read", ROOM)
            .edges(A, [none()])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)])
            .write(A, 100)
            .edges(A, tcp([none()]).unix([none()])),
        full("who is full is not told of a little room", ROOM)
            .take_share(B, 32)
            .edges(A, [none()])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)]),
        full("who is full stays full while nobody reads", BOUNDED)
            .try_write(A, 1, [Seen::Nothing(LATER)])
            .edges(A, [none()])
            .try_write(A, 1, [Seen::Nothing(LATER)])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)])
            .write(A, 1),
        full("full, read, full, read", ROOM)
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)])
            .fill_up(A)
            .edges(A, [none()])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)])
            .fill_up(A)
            .edges(A, [none()])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)]),
        full("both directions are full, each for itself", BOUNDED)
            .fill_up(B)
            .drain(B, [all(WouldBlock)])
            .drain(A, [all(WouldBlock)])
            .write(A, 1)
            .write(B, 1)
            .drain(A, [all(WouldBlock)])
            .drain(B, [all(WouldBlock)]),
    ]
}

fn levels() -> Vec<Scenario> {
    vec![
        full("an edge says nothing of room that there is not: bytes", LEVEL)
            .write(B, 5)
            .edges(A, [edge(R)])
            .drain(A, [all(WouldBlock)])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(W)]),
        full("an edge says nothing of room that there is not: the end", LEVEL)
            .finish(B)
            .edges(A, [edge(RH)])
            .drain(A, [Seen::Nothing(Then::End)])
            .drain(B, [all(WouldBlock)])
            .edges(A, [edge(RWH)])
            .write(A, 5)
            .drain(B, [all(WouldBlock)]),
        full("bytes and room may come on one edge", "ep_send_events polls again")
            .write(B, 5)
            .drain(B, [all(WouldBlock)])
            .edges(A, tcp([edge(RW), edges([R, RW]), edges([W, RW])]).unix([edge(RW)]))
            .drain(A, [all(WouldBlock)]),
        scenario(
            "between a quarter and all there is room that is not told",
            "unix_writable; unix_stream_sendmsg goes by sk_wmem_alloc",
            UNIX,
        )
        .small()
        .pair(A, B)
        .fill_up(A)
        .take_share(B, 2)
        .edges(A, [none()])
        .write(A, 1)
        .drain(B, [all(WouldBlock)])
        .edges(A, [edge(W)]),
    ]
}

fn ends() -> Vec<Scenario> {
    vec![
        full(
            "what was written before a close arrives, all of it",
            "tcp_close: FIN goes behind what is queued",
        )
        .close(A)
        .drain(B, [Seen::All(Then::End)]),
        full(
            "what was written before finishing arrives, all of it",
            "tcp_shutdown: FIN goes behind what is queued",
        )
        .finish(A)
        .try_write(A, 1, [nothing(BrokenPipe)])
        .drain(B, [Seen::All(Then::End)])
        .write(B, 5)
        .drain(A, [all(WouldBlock)]),
        full(
            "who is full and finishes is told of no room",
            "inet_shutdown wakes; tcp_poll: OUT once SEND_SHUTDOWN is set",
        )
        .finish(A)
        .edges(A, tcp([edge(W)]).unix([none()]))
        .drain(B, [Seen::All(Then::End)]),
        full(
            "who is full is told when the other closes",
            "RFC 1122, 4.2.2.13: it has unread input",
        )
        .close(B)
        .edges(A, [edge(RWHE)])
        .drain(A, [nothing(crate::language::Problem::Reset)])
        .try_write(A, 1, [nothing(BrokenPipe)]),
        full("what is read after the end was told is whole", "epoll(7): read until the end")
            .finish(A)
            .take_share(B, 3)
            .take_share(B, 3)
            .drain(B, [Seen::All(Then::End)])
            .drain(B, [Seen::Nothing(Then::End)]),
    ]
}
