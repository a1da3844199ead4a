//! The head of a request for the metrics page: bytes in, an answer out.

use httparse::{EMPTY_HEADER, Request, Status};

/// Bytes that a head may have.
pub(crate) const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// What to do about the bytes that have come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait for more.
    Incomplete,
    /// Send the page; for HEAD its head alone.
    Page { with_body: bool },
    /// Send an error.
    Refuse(Refusal),
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    NotFound { with_body: bool },
    MethodNotAllowed,
    HeadTooLarge,
}

impl Refusal {
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound { .. } => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

/// Judges what has come so far. Whatever follows the head is of no interest: there is one answer, and
/// then the connection closes.
pub(crate) fn judge(bytes: &[u8]) -> Verdict {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(length)) if length > HEAD_MAX => Verdict::Refuse(Refusal::HeadTooLarge),
        Ok(Status::Complete(_)) => {
            answer(request.method.unwrap_or_default(), request.path.unwrap_or_default())
        }
        Ok(Status::Partial) if bytes.len() >= HEAD_MAX => Verdict::Refuse(Refusal::HeadTooLarge),
        Ok(Status::Partial) => Verdict::Incomplete,
        Err(httparse::Error::TooManyHeaders) => Verdict::Refuse(Refusal::HeadTooLarge),
        Err(_) => Verdict::Refuse(Refusal::BadRequest),
    }
}

fn answer(method: &str, target: &str) -> Verdict {
    let with_body = method != "HEAD";
    match (path_of(target), method) {
        ("/metrics", "GET" | "HEAD") => Verdict::Page { with_body },
        ("/metrics", _) => Verdict::Refuse(Refusal::MethodNotAllowed),
        _ => Verdict::Refuse(Refusal::NotFound { with_body }),
    }
}

/// The path of a target in origin form (`/metrics?x`) or in absolute form (`http://host/metrics`).
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: Verdict = Verdict::Page { with_body: true };

    #[test]
    fn every_request_has_its_answer() {
        let not_found = |with_body| Verdict::Refuse(Refusal::NotFound { with_body });
        for (line, verdict) in [
            ("GET /metrics HTTP/1.1", PAGE),
            ("GET /metrics HTTP/1.0", PAGE),
            ("GET /metrics?name[]=x HTTP/1.1", PAGE),
            ("GET http://127.0.0.1:1/metrics HTTP/1.1", PAGE),
            ("HEAD /metrics HTTP/1.1", Verdict::Page { with_body: false }),
            ("GET / HTTP/1.1", not_found(true)),
            ("HEAD / HTTP/1.1", not_found(false)),
            ("POST / HTTP/1.1", not_found(true)),
            ("GET /metrics/ HTTP/1.1", not_found(true)),
            ("GET http://127.0.0.1 HTTP/1.1", not_found(true)),
            ("GET /a://b/metrics HTTP/1.1", not_found(true)),
            ("POST /metrics HTTP/1.1", Verdict::Refuse(Refusal::MethodNotAllowed)),
            ("get /metrics HTTP/1.1", Verdict::Refuse(Refusal::MethodNotAllowed)),
            ("GET /metrics", Verdict::Refuse(Refusal::BadRequest)),
            ("GET /metrics HTTP/2.0", Verdict::Refuse(Refusal::BadRequest)),
            ("\x16\x03\x01 ", Verdict::Refuse(Refusal::BadRequest)),
        ] {
            let request = format!("{line}\r\nhost: x\r\n\r\n");
            assert_eq!(judge(request.as_bytes()), verdict, "{line}");
        }
    }

    #[test]
    fn a_head_is_awaited_byte_by_byte_and_what_follows_does_not_matter() {
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
        for length in 0..request.len() {
            assert_eq!(judge(&request[..length]), Verdict::Incomplete, "{length}");
        }
        assert_eq!(judge(request), PAGE);
        assert_eq!(judge(&[&request[..], b"\0trailing"].concat()), PAGE);
    }

    #[test]
    fn a_head_that_does_not_end_is_refused() {
        let too_large = Verdict::Refuse(Refusal::HeadTooLarge);
        let endless = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(HEAD_MAX));
        assert_eq!(judge(endless.as_bytes()), too_large);
        assert_eq!(judge(format!("{endless}\r\n\r\n").as_bytes()), too_large);
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(judge(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), too_large);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(&bytes);
        }
    }
}
