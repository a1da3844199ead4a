//! Names: looked up meanwhile.

use crate::language::Kind;
use crate::language::Problem::NotFound;
use crate::language::Seen;
use crate::language::Who::{A, B, C};
use crate::script::{Scenario, scenario};

const NAMES: &[Kind] = &[Kind::Names];

pub(crate) fn table() -> Vec<Scenario> {
    vec![
        scenario("a name that is known", "RFC 6761, 6.3: localhost is loopback", NAMES)
            .resolve(A, "localhost")
            .resolved(A, [Seen::Found]),
        scenario("a name that is not known", "RFC 6761, 6.4: .invalid never exists", NAMES)
            .resolve(A, "name.invalid")
            .resolved(A, [Seen::Failed(NotFound)]),
        scenario("several names, each answer with its own token", "getaddrinfo(3)", NAMES)
            .resolve(A, "localhost")
            .resolve(B, "name.invalid")
            .resolve(C, "127.0.0.1")
            .resolved(C, [Seen::Found])
            .resolved(B, [Seen::Failed(NotFound)])
            .resolved(A, [Seen::Found]),
    ]
}
