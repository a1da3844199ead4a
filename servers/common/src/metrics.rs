//! What all loops have counted, in the words of Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use reactor::{Counters, Statistics};

/// Reads the counters each time it is asked; between, it costs nothing.
#[derive(Debug)]
struct LoopCollector {
    loops: Vec<Counters>,
}

/// A registry with the sums over these loops.
pub(crate) fn registry(loops: Vec<Counters>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(LoopCollector { loops }));
    registry
}

impl Collector for LoopCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sum = Statistics::default();
        for counters in &self.loops {
            sum.merge(&counters.read());
        }
        for (name, help, value) in gauges(&sum, self.loops.len()) {
            add(&mut encoder, name, help, None, &ConstGauge::new(value))?;
        }
        for (name, help, value) in counters(&sum) {
            add(&mut encoder, name, help, None, &ConstCounter::new(value))?;
        }
        for (name, help, nanoseconds) in times(&sum) {
            let seconds = ConstCounter::new(seconds(nanoseconds));
            add(&mut encoder, name, help, Some(&Unit::Seconds), &seconds)?;
        }
        Ok(())
    }
}

fn add(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

type Row = (&'static str, &'static str, u64);

#[rustfmt::skip] // a table
fn gauges(sum: &Statistics, loops: usize) -> [Row; 3] {
    [
        ("reactor_loops", "Event loops that were started", loops as u64),
        ("reactor_connections_open", "Connections of the loops that are open, closing or lingering, this page's own included", sum.open),
        ("reactor_queued_bytes", "Bytes that wait for their peers to take them", sum.queued_bytes),
    ]
}

#[rustfmt::skip] // a table
fn counters(sum: &Statistics) -> [Row; 20] {
    [
        ("reactor_connections_accepted", "Connections that the loops accepted and served, this page's own included", sum.accepted),
        ("reactor_connections_refused", "Connections closed at once because of a limit on their address", sum.refused),
        ("reactor_connections_connected", "Outgoing connections that stood", sum.connected),
        ("reactor_connect_failures", "Outgoing connections that never stood", sum.connect_failures),
        ("reactor_accept_pauses", "Times that accepting paused, for a limit or for want of descriptors", sum.accept_pauses),
        ("reactor_tls_handshakes", "TLS handshakes that came to their end, in both directions", sum.handshakes),
        ("reactor_tls_handshakes_resumed", "Those of them that resumed an earlier session", sum.handshakes_resumed),
        ("reactor_tls_handshakes_failed", "TLS handshakes that failed", sum.handshakes_failed),
        ("reactor_tls_strangers", "Clients, of those whose handshakes failed, that did not speak TLS at all", sum.not_tls),
        ("reactor_received_bytes", "Bytes that the loops received, by streams and datagrams, this page's own included", sum.bytes_in),
        ("reactor_sent_bytes", "Bytes that the loops sent, by streams and datagrams, this page's own included", sum.bytes_out),
        ("reactor_datagrams_received", "Datagrams received", sum.datagrams_in),
        ("reactor_datagrams_sent", "Datagrams sent", sum.datagrams_out),
        ("reactor_datagrams_dropped", "Datagrams that were not sent: no room, or refused by the system", sum.datagrams_dropped),
        ("reactor_messages", "Messages of other threads delivered", sum.messages),
        ("reactor_turns", "Turns of the loops; events per turn are reactor_events_total by this", sum.turns),
        ("reactor_events", "Readiness events that the system gave", sum.events),
        ("reactor_callbacks", "Callbacks of handlers", sum.callbacks),
        ("reactor_panics", "Callbacks that panicked", sum.panics),
        ("reactor_stalls", "Turns that took longer than --stall allows", sum.stalls),
    ]
}

#[rustfmt::skip] // a table
fn times(sum: &Statistics) -> [Row; 2] {
    [
        ("reactor_busy", "Time spent in turns, but for waiting", sum.busy_nanoseconds),
        ("reactor_handler", "Time spent in handlers; estimated, unless stalls are told or a trace is kept", sum.handler_nanoseconds),
    ]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 nanoseconds are 104 days of work; beyond, the last digits do not matter"
)]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    fn page(loops: Vec<Counters>) -> String {
        let mut text = String::new();
        encode(&mut text, &registry(loops)).unwrap();
        text
    }

    #[test]
    fn every_number_is_there_with_its_type_and_help() {
        let text = page(vec![Counters::default(), Counters::default()]);
        for line in [
            "reactor_loops 2",
            "reactor_connections_open 0",
            "reactor_queued_bytes 0",
            "reactor_connections_accepted_total 0",
            "reactor_connections_refused_total 0",
            "reactor_tls_handshakes_total 0",
            "reactor_tls_handshakes_failed_total 0",
            "reactor_received_bytes_total 0",
            "reactor_sent_bytes_total 0",
            "reactor_turns_total 0",
            "reactor_events_total 0",
            "reactor_handler_seconds_total 0.0",
            "reactor_busy_seconds_total 0.0",
            "reactor_accept_pauses_total 0",
            "reactor_panics_total 0",
            "reactor_messages_total 0",
            "reactor_datagrams_received_total 0",
            "reactor_datagrams_sent_total 0",
            "# TYPE reactor_connections_open gauge",
            "# TYPE reactor_turns counter",
            "# UNIT reactor_handler_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        for name in ["connections_open", "connections_accepted", "received_bytes", "sent_bytes"] {
            let begin = format!("# HELP reactor_{name} ");
            let help = text.lines().find(|line| line.starts_with(&begin)).unwrap();
            assert!(help.contains("the loops") && help.contains("this page's own included"));
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        let helps = text.lines().filter(|line| line.starts_with("# HELP"));
        assert_eq!(types.count(), helps.count());
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds(1_500_000_000), 1.5);
    }
}
