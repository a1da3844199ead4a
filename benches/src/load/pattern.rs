//! What each connection sends: a stream of its own, of which any part can be told from any other.

use fastrand::Rng;

/// Prime, so that messages of any size begin at ever other places of the pattern.
const PERIOD: usize = 65_521;

/// Letters in no order, repeated without end; each connection begins at another place.
///
/// What comes back is compared with what was sent at the same place of the stream, so a byte that is lost,
/// doubled, changed or another connection's is found, though no message is kept.
pub(super) struct Pattern {
    /// Invariant: `period + piece` long, and periodic.
    bytes: Vec<u8>,
    period: usize,
    /// Distance of the places at which streams begin.
    stride: usize,
}

impl Pattern {
    /// A pattern of which up to `piece` bytes can be had at once; with `line`, each so many bytes are a line.
    pub(super) fn new(piece: usize, line: Option<usize>) -> Self {
        let line = line.map(|size| size.max(1));
        let period = line.map_or(PERIOD, |size| PERIOD.div_ceil(size) * size);
        let mut random = Rng::with_seed(7);
        let mut bytes: Vec<u8> = (0..period).map(|_| random.u8(b'A'..=b'Z')).collect();
        if let Some(size) = line {
            bytes.iter_mut().skip(size - 1).step_by(size).for_each(|byte| *byte = b'\n');
        }
        let bytes = bytes.iter().copied().cycle().take(period + piece).collect();
        Self { bytes, period, stride: line.unwrap_or(7919) }
    }

    /// Where the stream of a connection begins.
    pub(super) fn start(&self, number: usize) -> usize {
        number.wrapping_mul(self.stride) % self.period
    }

    /// So many bytes of a stream at a place of it; fewer if they are more than a piece.
    pub(super) fn at(&self, start: usize, offset: usize, len: usize) -> &[u8] {
        let from = start.wrapping_add(offset) % self.period;
        let to = from.saturating_add(len).min(self.bytes.len());
        self.bytes.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let pattern = Pattern::new(1000, None);
        let start = pattern.start(3);
        let whole: Vec<u8> =
            (0..200_000).flat_map(|offset| pattern.at(start, offset, 1).to_vec()).collect();
        let mut offset = 0;
        for len in (1..=600).cycle() {
            let piece = pattern.at(start, offset, len);
            assert_eq!(piece.len(), len);
            let Some(expected) = whole.get(offset..offset + len) else { return };
            assert_eq!(piece, expected);
            offset += len;
        }
    }

    #[test]
    fn streams_differ_and_so_do_neighbouring_messages() {
        let pattern = Pattern::new(64, None);
        let message = |number, offset| pattern.at(pattern.start(number), offset, 64).to_vec();
        for number in 0..1000 {
            assert_ne!(message(number, 0), message(number + 1, 0));
            assert_ne!(message(number, 0), message(number, 64));
        }
    }

    #[test]
    fn lines_end_where_messages_do() {
        let pattern = Pattern::new(64, Some(10));
        for number in [0, 1, 10_000] {
            for message in 0..10_000 {
                let line = pattern.at(pattern.start(number), message * 10, 10);
                assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(9));
            }
        }
        assert_eq!(Pattern::new(8, Some(1)).at(0, 5, 3), b"\n\n\n");
    }
}
