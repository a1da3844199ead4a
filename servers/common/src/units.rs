//! Durations and sizes, as they are written on a command line.

use std::time::Duration;

const DURATION_FORMS: &str = "write it as 50us, 500ms, 10s, 2m, 1h or 0";
const SIZE_FORMS: &str = "write it as 65536, 64KiB, 1MiB, 1GiB or 0";

/// A duration: a whole number and `us`, `ms`, `s`, `m` or `h`; `0` alone needs no unit.
///
/// # Errors
/// A text that says how to write it.
///
/// ```
/// use servers_common::parse_duration;
/// use std::time::Duration;
///
/// assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
/// assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
/// assert!(parse_duration("10").unwrap_err().contains("has no unit"));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = split(text, DURATION_FORMS)?;
    let seconds = |scale: u64| count.checked_mul(scale).map(Duration::from_secs);
    let duration = match unit {
        "" if count == 0 => Some(Duration::ZERO),
        "" => return Err(format!("it has no unit: {DURATION_FORMS}")),
        "us" => Some(Duration::from_micros(count)),
        "ms" => Some(Duration::from_millis(count)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => return Err(format!("'{unit}' is no unit of time: {DURATION_FORMS}")),
    };
    duration.ok_or_else(|| "it is too long".to_owned())
}

/// A size in bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// A text that says how to write it.
///
/// ```
/// use servers_common::parse_size;
///
/// assert_eq!(parse_size("65536"), Ok(65536));
/// assert_eq!(parse_size("64KiB"), Ok(65536));
/// assert!(parse_size("64KB").unwrap_err().contains("'KB' is no unit of size"));
/// ```
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (count, unit) = split(text, SIZE_FORMS)?;
    let scale: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("'{unit}' is no unit of size: {SIZE_FORMS}")),
    };
    let bytes = count.checked_mul(scale);
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| "it is too large".to_owned())
}

/// The number at the front, and what follows it.
fn split<'a>(text: &'a str, forms: &str) -> Result<(u64, &'a str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match number.parse() {
        Ok(count) => Ok((count, unit)),
        Err(_) if digits == 0 => Err(format!("it does not begin with a number: {forms}")),
        Err(_) => Err("the number is too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_of_time_is_what_it_says() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("50us", 50),
            ("500ms", 500_000),
            ("10s", 10_000_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_how_to_be_one() {
        for text in
            ["", "s", "10", "-1s", "+1s", "1.5s", "10 s", "10S", "10sec", "1d", "ms500", "١s"]
        {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("500ms"), "{text}: {error}");
        }
        for text in ["99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).unwrap_err().contains("too l"), "{text}");
        }
    }

    #[test]
    fn every_unit_of_size_is_what_it_says() {
        for (text, bytes) in
            [("0", 0), ("65536", 65536), ("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_how_to_be_one() {
        for text in ["", "KiB", "-1", "1.5MiB", "64kib", "64K", "64KB", "64 KiB"] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains("64KiB"), "{text}: {error}");
        }
        for text in ["99999999999999999999", "99999999999GiB"] {
            assert!(parse_size(text).unwrap_err().contains("too large"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,12}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
