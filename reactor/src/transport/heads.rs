//! The heads of TLS records, as they go by in a handshake: for the one thing that rustls passes over.
//!
//! Before anything is encrypted, an alert is not proven to be the peer's, and rustls takes a close_notify for a
//! warning. But a handshake costs the peer nothing to begin again, and us a place to wait for one that never goes on.

/// The type of a record that is an alert.
const ALERT: u8 = 21;
/// Level and description.
const ALERT_LENGTH: usize = 2;
const CLOSE_NOTIFY: u8 = 0;

#[derive(Default)]
pub(super) struct Heads {
    /// Type, version and length; and of an alert that is not encrypted, all of it.
    record: [u8; 5 + ALERT_LENGTH],
    /// How much of that is there.
    have: usize,
    /// What is still to be passed over of a record that is anything else.
    left: usize,
}

impl Heads {
    /// Looks at what goes by. Whether it has a close_notify in it that is not encrypted.
    pub(super) fn tell_of_close_notify(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.record.get_mut(self.have) {
                *place = byte;
            }
            self.have += 1;
            bytes = rest;
            match (self.have, self.record) {
                (7, [.., CLOSE_NOTIFY]) => return true,
                (5, [ALERT, _, _, 0, 2, ..]) => {} // it is looked at
                (5, [_, _, _, high, low, ..]) => {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.have = 0;
                }
                (7, _) => self.have = 0,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_close_notify_that_is_not_encrypted_is_told_of_however_it_is_cut() {
        let hello = [22, 3, 1, 0, 3, 1, 21, 0];
        let warning = [21, 3, 3, 0, 2, 1, 90];
        let encrypted = [21, 3, 3, 0, 4, 1, 0, 1, 0];
        let close_notify = [21, 3, 3, 0, 2, 1, 0];
        let before = [&hello[..], &warning, &encrypted, &[20, 3, 3, 0, 0], &hello].concat();
        let whole = [&before[..], &close_notify].concat();
        assert!(!Heads::default().tell_of_close_notify(&before));
        assert!(Heads::default().tell_of_close_notify(&whole));
        assert!(Heads::default().tell_of_close_notify(&[&whole[..], &hello].concat()));
        let mut heads = Heads::default();
        let told: Vec<_> = whole.chunks(1).map(|byte| heads.tell_of_close_notify(byte)).collect();
        assert_eq!(told.iter().position(|&told| told), Some(whole.len() - 1));
    }
}
