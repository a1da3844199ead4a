//! What can be wrong with TLS on one connection: a closed list, which names no library.

use std::fmt;

/// What was wrong with TLS on a connection.
///
/// It says what went wrong in the words of the protocol; what exactly the peer did is logged (debug).
///
/// ```
/// use reactor::{CertificateFault, TlsError};
///
/// let error = TlsError::Certificate(CertificateFault::Expired);
/// assert_eq!(error.to_string(), "the peer's certificate has expired");
/// assert_eq!(TlsError::Alert(48).to_string(), "the peer said: unknown certificate authority");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsError {
    /// The peer gave up, and said why by this alert: its number in RFC 8446, section 6.
    Alert(u8),
    /// What the peer sent first is no TLS. It was told by the alert protocol_version.
    NotTls,
    /// What the peer sent first is an HTTP request. It was told in one line.
    PlainHttp,
    /// The peer's certificate is not to be trusted.
    Certificate(CertificateFault),
    /// The peer has no certificate, and is to have one.
    NoCertificate,
    /// Nothing in common: no version, no cipher suite, no key exchange that both sides know.
    Incompatible,
    /// No application protocol (ALPN) that both sides know.
    NoCommonProtocol,
    /// What the peer sent cannot be decrypted.
    Undecryptable,
    /// What the peer sent cannot be read: malformed, or too long.
    Malformed,
    /// The peer broke the rules of the protocol, or wore out what they allow.
    Misbehaved,
    /// Something on our side: a signature that fails, a lack of randomness.
    Internal,
}

/// Why a certificate is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time is yet to come.
    NotYetValid,
    /// Nobody who is trusted has signed it.
    UnknownIssuer,
    /// It is another's: the name does not stand in it.
    WrongName,
    /// It was revoked.
    Revoked,
    /// It is not made for this purpose.
    WrongPurpose,
    /// Its signature is not right.
    BadSignature,
    /// Anything else: it cannot be read, or uses what is not supported.
    Unusable,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert(number) => return write!(f, "the peer said: {}", alert(*number)),
            Self::Certificate(fault) => return write!(f, "the peer's certificate {fault}"),
            Self::NotTls => "the peer does not speak TLS",
            Self::PlainHttp => "the peer speaks HTTP without TLS",
            Self::NoCertificate => "the peer has no certificate",
            Self::Incompatible => "no TLS version or cipher suite in common",
            Self::NoCommonProtocol => "no application protocol in common",
            Self::Undecryptable => "a TLS record cannot be decrypted",
            Self::Malformed => "a TLS message is malformed or too long",
            Self::Misbehaved => "the peer broke the rules of TLS",
            Self::Internal => "TLS failed on this side",
        })
    }
}

impl std::error::Error for TlsError {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::UnknownIssuer => "is signed by nobody who is trusted",
            Self::WrongName => "is for another name",
            Self::Revoked => "was revoked",
            Self::WrongPurpose => "is not made for this purpose",
            Self::BadSignature => "has a wrong signature",
            Self::Unusable => "cannot be used",
        })
    }
}

/// An alert in words.
fn alert(number: u8) -> &'static str {
    match number {
        0 => "close notify",
        10 => "unexpected message",
        20 => "bad record MAC",
        21 => "decryption failed",
        22 => "record overflow",
        40 => "handshake failure",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate unknown",
        47 => "illegal parameter",
        48 => "unknown certificate authority",
        49 => "access denied",
        50 => "decode error",
        51 => "decrypt error",
        70 => "protocol version",
        71 => "insufficient security",
        80 => "internal error",
        86 => "inappropriate fallback",
        90 => "user canceled",
        100 => "no renegotiation",
        109 => "missing extension",
        110 => "unsupported extension",
        112 => "unrecognized name",
        115 => "unknown PSK identity",
        116 => "certificate required",
        120 => "no application protocol",
        _ => "an alert without a name",
    }
}
