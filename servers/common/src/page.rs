//! The metrics page: a second service on loop 0, in as little HTTP as a scraper needs.

use std::convert::Infallible;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use reactor::{ConnContext, Counters, Deadline, Handler, Limits, ReadBuffer, ServiceConfig};

use crate::metrics::{Numbers, registry};
use crate::request::{HEAD_MAX, Refusal, Verdict, judge};

/// Scrapers that may be connected at a time.
pub(crate) const CONNECTIONS_MAX: usize = 32;
/// How long one may take to ask. Those who say nothing leave their places to others after this.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How long one that has asked may take none of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics`, once per connection.
pub(crate) struct MetricsPage {
    registry: Registry,
}

impl MetricsPage {
    /// The page of these loops, and the program's own numbers.
    pub(crate) fn new(loops: Vec<Counters>, own: Option<Numbers>) -> Self {
        Self { registry: registry(loops, own) }
    }

    pub(crate) fn config() -> ServiceConfig<Infallible> {
        ServiceConfig::new().limits(Limits {
            max_connections: CONNECTIONS_MAX,
            idle_timeout: PATIENCE,
            drain_timeout: PATIENCE,
            input_max: 2 * HEAD_MAX,
            ..Limits::default()
        })
    }

    fn answer(&self, verdict: Verdict) -> Option<String> {
        match verdict {
            Verdict::Incomplete => None,
            Verdict::Page { with_body } => {
                let mut page = String::new();
                // Writing to a string does not fail, and what is encoded are plain numbers.
                let _ = encode(&mut page, &self.registry);
                Some(response("200 OK", OPENMETRICS, "", &page, with_body))
            }
            Verdict::Refuse(refusal) => Some(refuse(refusal)),
        }
    }
}

fn refuse(refusal: Refusal) -> String {
    let (allow, with_body) = match refusal {
        Refusal::MethodNotAllowed => ("allow: GET, HEAD\r\n", true),
        Refusal::NotFound { with_body } => ("", with_body),
        Refusal::BadRequest | Refusal::HeadTooLarge => ("", true),
    };
    let body = format!("{}\n", refusal.status());
    response(refusal.status(), "text/plain; charset=utf-8", allow, &body, with_body)
}

/// The answer to HEAD tells the length of the body that it does not have.
fn response(status: &str, kind: &str, extra: &str, body: &str, with_body: bool) -> String {
    let length = body.len();
    let body = if with_body { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{extra}\
         connection: close\r\n\r\n{body}"
    )
}

impl Handler for MetricsPage {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        // Idleness alone would let a peer that sends a byte now and then stay for ever.
        cx.set_deadline(HEAD_PATIENCE);
    }

    /// Not [`close`](ConnContext::close): whoever lingers still has its place.
    fn on_deadline(&mut self, (): &mut (), _: Deadline, cx: &mut ConnContext<'_>) {
        cx.abort();
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let verdict = judge(input.as_slice());
        if let Some(response) = self.answer(verdict) {
            log::debug!("{} asked for the metrics: {verdict:?}", cx.peer());
            input.take();
            cx.send_block(response.into_bytes());
            cx.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::{Config, Stage};

    fn stage() -> Stage<MetricsPage> {
        let page = MetricsPage::new(vec![Counters::default()], None);
        Stage::with_config(page, Config::default(), MetricsPage::config())
    }

    fn ask(request: &str) -> String {
        let mut stage = stage();
        let peer = stage.open();
        stage.deliver(peer, request.as_bytes());
        assert!(stage.has_finished(peer), "one answer, then FIN");
        String::from_utf8(stage.sent(peer)).unwrap()
    }

    #[test]
    fn a_scraper_gets_the_page_and_its_length() {
        let answer = ask("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-type: {OPENMETRICS}\r\n")), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("reactor_turns_total") && body.ends_with("# EOF\n"));
        let only_head = ask("HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(only_head, format!("{head}\r\n\r\n"));
    }

    #[test]
    fn whoever_wants_something_else_is_told() {
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
            ("PUT /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed\r\n"),
            ("nonsense\r\n\r\n", "400 Bad Request"),
        ] {
            let answer = ask(request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        assert!(ask("PUT /metrics HTTP/1.1\r\n\r\n").contains("\r\nallow: GET, HEAD\r\n"));
        assert!(ask(&"x".repeat(HEAD_MAX)).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn a_request_may_come_in_pieces_but_not_for_ever() {
        let mut stage = stage();
        let (slow, slower) = (stage.open(), stage.open());
        for piece in ["GET /met", "rics HTTP/1.1\r\n", "\r\n"] {
            assert!(stage.sent(slow).is_empty());
            stage.deliver(slow, piece.as_bytes());
        }
        assert!(stage.sent(slow).starts_with(b"HTTP/1.1 200 "));
        for _ in 0..3 {
            stage.pass(HEAD_PATIENCE / 4);
            stage.deliver(slower, b"G");
            assert!(stage.is_open(slower));
        }
        stage.pass(HEAD_PATIENCE / 4);
        assert!(!stage.is_open(slower), "and its place is free");
    }

    #[test]
    fn scrapers_beyond_the_limit_wait() {
        let mut stage = stage();
        let peers: Vec<_> = (0..=CONNECTIONS_MAX).map(|_| stage.open()).collect();
        let open = peers.iter().filter(|peer| stage.is_open(**peer)).count();
        assert_eq!(open, CONNECTIONS_MAX);
    }

    #[test]
    fn who_is_silent_leaves_its_place_to_who_asks() {
        let mut stage = stage();
        let silent: Vec<_> = (0..CONNECTIONS_MAX).map(|_| stage.open()).collect();
        stage.pass(HEAD_PATIENCE);
        assert!(silent.iter().all(|peer| !stage.is_open(*peer)));
        let peer = stage.open();
        stage.deliver(peer, b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(stage.sent(peer).starts_with(b"HTTP/1.1 200 "));
    }
}
