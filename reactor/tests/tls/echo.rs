//! What is said comes back, however it is cut.

use std::thread;
use std::time::Duration;

use reactor::CloseReason;

use crate::by_hand::{ByHand, beside, serve, turn_until};
use crate::certificates::{BOTH, server, speaking};
use crate::support::{Probe, pattern, propagating};

#[test]
fn from_one_byte_to_eight_mebibytes_with_a_reader_that_pauses() {
    for version in BOTH {
        for size in [1, 2, 16_384, 16_385, 100_000, 8 << 20] {
            let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
            let back = beside(&mut reactor, move || {
                let mut client = ByHand::shaken(address, speaking(version));
                let sent = pattern(size);
                let mut back = Vec::new();
                for part in sent.chunks(65_536) {
                    client.say(part).unwrap();
                    if part.len() == 65_536 && back.len() % (1 << 20) == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    back.extend(client.read_exact(part.len()).unwrap());
                }
                client.finish();
                assert!(client.read_to_end().unwrap().is_empty());
                back
            });
            assert!(back == pattern(size), "{size} bytes came back as {}", back.len());
            turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
            assert_eq!(reactor.get(&service).data(), back);
            assert_eq!(reactor.counters().read().handshakes, 1);
        }
    }
}
