//! Datagrams: whole or not at all.

use crate::language::Kind;
use crate::language::Problem::{NotFound, Refused, TooLarge, WouldBlock};
use crate::language::Who::{A, B, C};
use crate::language::{RW, Seen, W, edge, edges, none};
use crate::script::Place::{Deserted, Missing};
use crate::script::{DATAGRAMS, Scenario, scenario, udp};

const UDP: &[Kind] = &[Kind::Udp];
const LOCAL: &[Kind] = &[Kind::Datagram];

const BOUNDARIES: &str = "udp(7), unix(7): boundaries are kept, and locally the order";
const NEWS: &str = "epoll(7); sock_def_readable for each datagram";
const ROOM: &str = "sock_def_write_space, unix_write_space: when a datagram is freed: UDP as it leaves, Unix as it is read";
const OVERFLOW: &str =
    "udp(7): what does not fit is dropped; unix(7), net.unix.max_dgram_qlen: EAGAIN";

const EMPTY: Seen = Seen::Failed(WouldBlock);

pub(crate) fn table() -> Vec<Scenario> {
    let mut table = whole();
    table.extend(told());
    table.extend(lost());
    table.extend(to_nobody());
    table
}

fn whole() -> Vec<Scenario> {
    vec![
        scenario("a datagram, whole, and from whom", BOUNDARIES, DATAGRAMS)
            .bind(A)
            .bind(B)
            .receive(B, 100, [EMPTY])
            .send(A, B, 5)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(5, A)])
            .receive(B, 100, [EMPTY])
            .edges(B, [none()]),
        scenario("boundaries are kept", BOUNDARIES, DATAGRAMS)
            .bind(A)
            .bind(B)
            .send(A, B, 1)
            .send(A, B, 20)
            .send(A, B, 3)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(1, A)])
            .receive(B, 100, [Seen::Datagram(20, A)])
            .receive(B, 100, [Seen::Datagram(3, A)])
            .receive(B, 100, [EMPTY]),
        scenario(
            "what there is no room for is lost",
            "recv(2): the rest of a datagram is discarded",
            DATAGRAMS,
        )
        .bind(A)
        .bind(B)
        .send(A, B, 10)
        .send(A, B, 4)
        .edges(B, [edge(RW)])
        .receive(B, 3, [Seen::Datagram(3, A)])
        .receive(B, 100, [Seen::Datagram(4, A)])
        .receive(B, 100, [EMPTY]),
        scenario("an empty datagram is one", "recv(2): datagrams may be of no length", DATAGRAMS)
            .bind(A)
            .bind(B)
            .send(A, B, 0)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(0, A)])
            .receive(B, 100, [EMPTY]),
        scenario("to oneself", BOUNDARIES, DATAGRAMS)
            .bind(A)
            .send(A, A, 5)
            .edges(A, [edge(RW)])
            .receive(A, 100, [Seen::Datagram(5, A)])
            .receive(A, 100, [EMPTY]),
        scenario("from two, and each by its name", BOUNDARIES, DATAGRAMS)
            .bind(A)
            .bind(B)
            .bind(C)
            .send(A, B, 5)
            .edges(B, [edge(RW)])
            .send(C, B, 6)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(5, A)])
            .receive(B, 100, [Seen::Datagram(6, C)])
            .send(B, C, 7)
            .edges(C, udp([edges([W, RW])]).datagram([edge(RW)]))
            .receive(C, 100, [Seen::Datagram(7, B)]),
        scenario("more than a packet can hold", "udp(7): EMSGSIZE", UDP)
            .bind(A)
            .bind(B)
            .try_send(A, B, 65_507, [Seen::Done])
            .try_send(A, B, 65_508, [Seen::Failed(TooLarge)])
            .edges(B, [edge(RW)])
            .receive(B, 70_000, [Seen::Datagram(65_507, A)])
            .receive(B, 70_000, [EMPTY]),
        scenario("more than the send buffer can hold", "unix_dgram_sendmsg: EMSGSIZE", LOCAL)
            .bind_small(A)
            .bind(B)
            .try_send(A, B, 10_000, [Seen::Failed(TooLarge)])
            .try_send(A, B, 4_000, [Seen::Done])
            .receive(B, 70_000, [Seen::Datagram(4_000, A)])
            .receive(B, 70_000, [EMPTY]),
    ]
}

fn told() -> Vec<Scenario> {
    vec![
        scenario("a datagram that is left is not told again, one more is", NEWS, DATAGRAMS)
            .bind(A)
            .bind(B)
            .send(A, B, 5)
            .edges(B, [edge(RW)])
            .edges(B, [none()])
            .send(A, B, 6)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(5, A)])
            .edges(B, [none()])
            .receive(B, 100, [Seen::Datagram(6, A)])
            .receive(B, 100, [EMPTY]),
        scenario("a datagram after EAGAIN is told", NEWS, DATAGRAMS)
            .bind(A)
            .bind(B)
            .receive(B, 100, [EMPTY])
            .send(A, B, 5)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(5, A)])
            .receive(B, 100, [EMPTY])
            .send(A, B, 6)
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(6, A)]),
        scenario("who sends may be told of room that it never lacked", ROOM, DATAGRAMS)
            .bind(A)
            .bind(B)
            .send(A, B, 5)
            .edges(A, udp([edge(W)]).datagram([none()]))
            .edges(B, [edge(RW)])
            .receive(B, 100, [Seen::Datagram(5, A)])
            .edges(A, udp([none()]).datagram([edge(W)])),
        scenario("who was told EAGAIN is told of room", OVERFLOW, LOCAL)
            .bind(A)
            .bind(B)
            .flood(A, B, 1000, [EMPTY])
            // The datagram that was refused has been freed: that is told, though its next would be
            // refused as well.
            .edges(A, [edge(W)])
            .try_send(A, B, 5, [EMPTY])
            .edges(A, [edge(W)])
            .edges(A, [none()])
            .receive(B, 10, [Seen::Datagram(10, A)])
            .edges(A, [edge(W)])
            .send(A, B, 5),
        scenario("one queue that is full is nothing to the others", OVERFLOW, LOCAL)
            .bind(A)
            .bind(B)
            .bind(C)
            .flood(A, B, 1000, [EMPTY])
            .try_send(C, B, 5, [EMPTY])
            .send(A, C, 5)
            .edges(C, [edge(RW)])
            .receive(C, 100, [Seen::Datagram(5, A)]),
    ]
}

fn lost() -> Vec<Scenario> {
    let any = || [Seen::Datagram(1, A), Seen::Datagram(2, A), EMPTY];
    vec![
        scenario(
            "what overflows is dropped, and what is left is whole and in order",
            OVERFLOW,
            DATAGRAMS,
        )
        .bind(A)
        .bind_small(B)
        .flood(A, B, 200, udp([Seen::Done]).datagram([EMPTY]))
        .edges(B, [edge(RW)])
        .receive_all(B, [Seen::Some])
        .receive(B, 100, [EMPTY])
        .send(A, B, 5)
        .edges(B, [edge(RW)])
        .receive(B, 100, [Seen::Datagram(5, A)]),
        scenario(
            "on its way a datagram may be lost, overtaken and doubled",
            "RFC 768: delivery and duplicate protection are not guaranteed",
            UDP,
        )
        .rough()
        .bind(A)
        .bind(B)
        .send(A, B, 1)
        .send(A, B, 2)
        .edges(B, [edge(RW), none()])
        .receive(B, 100, any())
        .receive(B, 100, any())
        .receive(B, 100, any())
        .receive(B, 100, any())
        .receive(B, 100, [EMPTY]),
    ]
}

fn to_nobody() -> Vec<Scenario> {
    vec![
        scenario(
            "to nobody: who is not connected is not told",
            "udp(7): errors go to connected sockets unless IP_RECVERR is set",
            UDP,
        )
        .bind(A)
        .send_to(A, Deserted, [Seen::Done])
        .edges(A, [edge(W)])
        .receive(A, 100, [EMPTY])
        .send_to(A, Deserted, [Seen::Done])
        .edges(A, [edge(W)]),
        scenario(
            "to nobody: who sends is told at once",
            "unix(7); unix_dgram_sendmsg: ECONNREFUSED, ENOENT",
            LOCAL,
        )
        .bind(A)
        .send_to(A, Deserted, [Seen::Failed(Refused)])
        .send_to(A, Missing, [Seen::Failed(NotFound)])
        .receive(A, 100, [EMPTY]),
        scenario(
            "who is gone takes with it what it has not received",
            "unix_release_sock, udp_destroy_sock: the queue is purged",
            DATAGRAMS,
        )
        .bind(A)
        .bind(B)
        .send(A, B, 5)
        .edges(B, [edge(RW)])
        .close_socket(B)
        .try_send(A, B, 5, udp([Seen::Done]).datagram([Seen::Failed(NotFound)]))
        .receive(A, 100, [EMPTY]),
    ]
}
